"""The levers of the pool that people have: rows change here, and the keeper does what they say."""

from executions import services
from executions.models import Outcome
from runtimes.models import Runtime
from sandbox_platform.kit.notify import POOL, notify
from sandboxes.models import Sandbox, SandboxState


def drain(runtime: Runtime) -> int:
    """The warm ones of all nodes go; the keepers start fresh ones. Returns how many."""
    ready = Sandbox.objects.filter(runtime=runtime, state=SandboxState.READY)
    number = ready.update(state=SandboxState.USED)
    notify(POOL)
    return number


def kill(sandbox: Sandbox) -> bool:
    """A warm one goes; one with an execution ends with it, which is cancelled. False if it was neither."""
    if sandbox.execution_id and sandbox.state == SandboxState.CLAIMED:
        return services.cancel(sandbox.execution_id, outcome=Outcome.CANCEL_REQUESTED)
    # The condition is part of the UPDATE: somebody may claim it at this moment.
    gone = Sandbox.objects.filter(pk=sandbox.pk, state=SandboxState.READY).update(state=SandboxState.USED)
    notify(POOL)
    return bool(gone)


def resize(runtime: Runtime, *, pool_min: int, pool_max: int) -> None:
    """Without a new revision: the size says nothing about how programs run, and warm ones stay."""
    runtime.pool_min, runtime.pool_max = pool_min, pool_max
    runtime.save(update_fields=["pool_min", "pool_max", "updated_at"])
