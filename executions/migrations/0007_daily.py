from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('executions', '0006_request_id'),
    ]

    operations = [
        migrations.CreateModel(
            name='DailyCount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False)),
                ('day', models.DateTimeField()),
                ('runtime_id', models.BigIntegerField()),
                ('client_id', models.BigIntegerField(null=True)),
                ('status', models.CharField(max_length=14)),
                ('count', models.PositiveIntegerField()),
                ('warm', models.PositiveIntegerField()),
                ('cold', models.PositiveIntegerField()),
            ],
            options={
                'default_permissions': (),
                'indexes': [models.Index(fields=['day'], name='daily_count_day_idx')],
            },
        ),
        migrations.CreateModel(
            name='DailyTime',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False)),
                ('day', models.DateTimeField()),
                ('runtime_id', models.BigIntegerField()),
                ('kind', models.CharField(max_length=8)),
                ('bucket', models.PositiveSmallIntegerField()),
                ('count', models.PositiveIntegerField()),
            ],
            options={
                'default_permissions': (),
                'indexes': [models.Index(fields=['day'], name='daily_time_day_idx')],
            },
        ),
        migrations.AddField(
            model_name='rollup',
            name='days_up_to',
            field=models.DateTimeField(null=True),
        ),
    ]
