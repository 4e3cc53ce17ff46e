from pathlib import Path

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0002_signed_seals"),
    ]

    operations = [
        migrations.RunSQL(
            Path(__file__).with_name("redacted_paths.sql").read_text(encoding="utf-8"), migrations.RunSQL.noop
        ),
    ]
