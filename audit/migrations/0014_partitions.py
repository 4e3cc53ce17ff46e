from pathlib import Path

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('audit', '0013_formats'),
        ('executions', '0011_traceparent'),
    ]

    operations = [
        migrations.RunSQL(Path(__file__).with_name("partitions.sql").read_text(encoding="utf-8"), migrations.RunSQL.noop),
    ]
