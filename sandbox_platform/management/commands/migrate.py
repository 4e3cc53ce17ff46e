from django.core.management.commands import migrate

from sandbox_platform.kit.migrations import MigrationAutodetector


class Command(migrate.Command):
    autodetector = MigrationAutodetector
