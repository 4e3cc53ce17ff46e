"""What the sandboxes of this node hold in memory, for whoever looks at the pool."""

from django.conf import settings

from runtimes.models import MIB
from sandboxes import cgroup
from sandboxes.models import Sandbox, SandboxState

EVERY_S = 10.0
# Less is not written: a claim passes over a row that is being written just then.
NOTICED = MIB


def measure() -> None:
    alive = Sandbox.objects.filter(
        node=settings.SANDBOX_NODE, state__in=(SandboxState.READY, SandboxState.CLAIMED)
    ).exclude(container_id="")
    for key, container, known in alive.values_list("pk", "container_id", "memory_bytes"):
        held = cgroup.held_bytes(container)
        if held is not None and (known is None or abs(held - known) >= NOTICED):
            Sandbox.objects.filter(pk=key).update(memory_bytes=held)
