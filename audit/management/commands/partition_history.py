from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit import partitions
from executions.parts import history_parts


class Command(BaseCommand):
    help = (
        "Partition the history by month, while everything runs: a month whose executions no policy keeps is then "
        "dropped instead of deleted row by row. Needs the role that owns the tables, and cannot be undone but by "
        "restoring a backup. See docs/scaling.md."
    )

    def handle(self, **options: Any) -> None:
        try:
            partitions.convert(self.stdout.write)
        except partitions.NotPartitioned as e:
            raise CommandError(str(e)) from e
        for part in history_parts():
            self.stdout.write(part.name)
