"""Operations on the pool for people. They change rows, and the keeper acts on them."""

from executions import services
from executions.models import Outcome
from runtimes.models import Runtime
from sandbox_platform.kit.notify import POOL, notify
from sandboxes.models import Sandbox, SandboxState


def drain(runtime: Runtime) -> int:
    """Drain a runtime's warm sandboxes on all nodes; return how many. The keepers start fresh ones."""
    ready = Sandbox.objects.filter(runtime=runtime, state=SandboxState.READY)
    number = ready.update(state=SandboxState.USED)
    notify(POOL)
    return number


def kill(sandbox: Sandbox) -> bool:
    """Remove a ready sandbox, or cancel the execution of a claimed one; return False if it was neither."""
    if sandbox.execution_id and sandbox.state == SandboxState.CLAIMED:
        return services.cancel(sandbox.execution_id, outcome=Outcome.CANCEL_REQUESTED)
    # The condition is part of the UPDATE: a run may claim the sandbox at this moment.
    gone = Sandbox.objects.filter(pk=sandbox.pk, state=SandboxState.READY).update(state=SandboxState.USED)
    notify(POOL)
    return bool(gone)


def resize(runtime: Runtime, *, pool_min: int, pool_max: int) -> None:
    """Change the pool's size without a new revision: runs are not affected, so warm sandboxes stay."""
    runtime.pool_min, runtime.pool_max = pool_min, pool_max
    runtime.save(update_fields=["pool_min", "pool_max", "updated_at"])
