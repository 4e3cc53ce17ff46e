from typing import Any

from django.core.management.base import BaseCommand

from executions import storage


class Command(BaseCommand):
    help = "Count what each client's history holds, and correct the figures of quotas. Programs may run meanwhile."

    def handle(self, **options: Any) -> None:
        for name, stored in storage.recount().items():
            self.stdout.write(f"{name}: {stored} bytes")
