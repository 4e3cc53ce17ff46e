from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('sandboxes', '0007_traceparent'),
    ]

    operations = [
        migrations.AddField(
            model_name='node',
            name='stopping',
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
