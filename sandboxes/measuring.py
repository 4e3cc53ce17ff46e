"""Records how much memory the sandboxes of this node hold, for the pages of the pool."""

from django.conf import settings

from runtimes.models import MIB
from sandboxes import cgroup
from sandboxes.models import Sandbox, SandboxState

EVERY_S = 10.0
# Smaller changes are not written: a claim skips a row that is locked by an UPDATE.
NOTICED = MIB


def measure() -> None:
    alive = Sandbox.objects.filter(
        node=settings.SANDBOX_NODE, state__in=(SandboxState.READY, SandboxState.CLAIMED)
    ).exclude(container_id="")
    for key, container, known in alive.values_list("pk", "container_id", "memory_bytes"):
        held = cgroup.held_bytes(container)
        if held is not None and (known is None or abs(held - known) >= NOTICED):
            Sandbox.objects.filter(pk=key).update(memory_bytes=held)
