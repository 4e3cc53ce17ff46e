from typing import Any

from executions.worker import warm_up
from sandbox_platform.kit import cluster
from sandbox_platform.kit.service import ServiceCommand


class Command(ServiceCommand):
    help = "Run executions in a django-q2 cluster of worker processes. Runs until stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        cluster.run(warm_up)
