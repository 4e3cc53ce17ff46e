from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from sandbox_platform import agent
from sandbox_platform.kit.service import ServiceCommand
from sandboxes import cgroup


class Command(ServiceCommand):
    help = (
        "Run a node without Docker in one container, as in a pod of Kubernetes: its worker and its keeper. With "
        "SANDBOX_CGROUP_PARENT=auto, sandboxes are below the container's own cgroup. Runs until it is signalled."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.SANDBOX_CGROUP_PARENT == cgroup.AUTO:
            try:
                cgroup.prepare_own()
            except OSError as e:
                raise CommandError(f"Sandboxes cannot be below this container's cgroup: {e.strerror or e}") from e
        agent.Agent().run()
