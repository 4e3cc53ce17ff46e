from django.core.management.commands import makemigrations

from sandbox_platform.kit.migrations import MigrationAutodetector


class Command(makemigrations.Command):
    autodetector = MigrationAutodetector
