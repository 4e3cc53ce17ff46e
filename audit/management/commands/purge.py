from typing import Any

from django.core.management.base import BaseCommand

from audit import purging


class Command(BaseCommand):
    help = "Purge sealed executions that the retention policies no longer keep. The keepers do it every hour."

    def handle(self, **options: Any) -> None:
        for record in purging.purge():
            self.stdout.write(f"{record}, {record.policy}, older than {record.keep_days} days")
