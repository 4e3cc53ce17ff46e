from typing import Any

from django.core.management.base import BaseCommand

from executions import cluster


class Command(BaseCommand):
    help = "Run executions: django-q2's cluster of worker processes. Runs until it is told to stop."

    def handle(self, *args: Any, **options: Any) -> None:
        cluster.run(cluster.warm_up)
