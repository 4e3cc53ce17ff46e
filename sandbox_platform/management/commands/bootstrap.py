from typing import Any

from django.core.management.base import BaseCommand

from sandbox_platform.bootstrap import ensure_all


class Command(BaseCommand):
    help = "Create the rows that a new installation needs, where they are missing. Safe to run at every start."

    def handle(self, **options: Any) -> None:
        for line in ensure_all():
            self.stdout.write(line)
