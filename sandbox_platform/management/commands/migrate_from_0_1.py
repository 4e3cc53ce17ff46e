from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sandbox_platform.upgrade import NotPossible, upgrade


class Command(BaseCommand):
    help = "Upgrade a database of version 0.1, which has several migrations per app. See docs/upgrading.md."

    def handle(self, **options: Any) -> None:
        try:
            for line in upgrade():
                self.stdout.write(line)
        except NotPossible as e:
            raise CommandError(str(e)) from e
