import django.db.models.functions.comparison
import django.db.models.functions.text
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('executions', '0004_storage'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='execution',
            index=models.Index(
                django.db.models.functions.text.Right(
                    django.db.models.functions.comparison.Cast('id', models.TextField()), 12
                ),
                name='execution_short_id_idx',
            ),
        ),
    ]
