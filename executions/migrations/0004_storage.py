from pathlib import Path

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('clients', '0002_storage'),
        ('executions', '0003_requeues'),
    ]

    operations = [
        migrations.RunSQL(
            Path(__file__).with_name("storage.sql").read_text(encoding="utf-8"),
            "DROP FUNCTION storage_of_execution, storage_of_file CASCADE; DELETE FROM executions_clientstorage;",
        ),
    ]
