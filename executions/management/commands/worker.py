from typing import Any

from django.core.management.base import BaseCommand

from executions.worker import warm_up
from sandbox_platform.kit import cluster


class Command(BaseCommand):
    help = "Run executions in a django-q2 cluster of worker processes. Runs until stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        cluster.run(warm_up)
