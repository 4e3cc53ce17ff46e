from typing import Any

from django.core.management.base import BaseCommand

from audit import purging


class Command(BaseCommand):
    help = (
        "Purges now what the retention policies do not keep, as far as it is sealed. The keepers do it every hour."
    )

    def handle(self, **options: Any) -> None:
        for record in purging.purge():
            self.stdout.write(f"{record}, {record.policy}, older than {record.keep_days} days")
