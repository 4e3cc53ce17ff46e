from typing import Any

from django.core.management.base import BaseCommand

from sandbox_platform.bootstrap import ensure_all


class Command(BaseCommand):
    help = "Creates what a new installation needs and is not there yet. Safe to run at every start."

    def handle(self, **options: Any) -> None:
        for line in ensure_all():
            self.stdout.write(line)
