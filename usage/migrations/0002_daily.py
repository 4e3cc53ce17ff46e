from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('usage', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='DailyUsage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False)),
                ('day', models.DateTimeField()),
                ('client_id', models.BigIntegerField(null=True)),
                ('runtime_id', models.BigIntegerField()),
                ('runs', models.PositiveBigIntegerField()),
                ('rejected', models.PositiveBigIntegerField()),
                ('cpu_ms', models.PositiveBigIntegerField()),
                ('memory_byte_seconds', models.PositiveBigIntegerField()),
                ('egress_bytes', models.PositiveBigIntegerField()),
            ],
            options={
                'default_permissions': (),
                'constraints': [
                    models.UniqueConstraint(
                        fields=('day', 'client_id', 'runtime_id'), name='daily_usage_once', nulls_distinct=False
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name='counted',
            name='days_up_to',
            field=models.DateTimeField(null=True),
        ),
    ]
