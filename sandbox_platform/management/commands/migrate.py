from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate

from sandbox_platform.kit.migrations import MigrationAutodetector
from sandbox_platform.upgrade import is_before_the_rooms


class Command(migrate.Command):
    autodetector = MigrationAutodetector

    def handle(self, *args: Any, **options: Any) -> None:
        if is_before_the_rooms():
            raise CommandError(
                "This is a database of version 0.1: run `make migrate-from-0.1`. See docs/upgrading.md."
            )
        super().handle(*args, **options)
