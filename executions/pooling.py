"""Operations on the pool for people. They change rows, and the keeper acts on them."""

from typing import Any

from django.db import transaction

from executions import services
from executions.models import Execution, Outcome
from runtimes.models import Runtime
from sandbox_platform.kit import acts
from sandbox_platform.kit.acts import Kind
from sandbox_platform.kit.notify import POOL, notify
from sandboxes.models import Sandbox, SandboxState


def drain(runtime: Runtime, *, http: Any) -> int:
    """Drain a runtime's warm sandboxes on all nodes; return how many. The keepers start fresh ones."""
    ready = Sandbox.objects.filter(runtime=runtime, state=SandboxState.READY)
    with transaction.atomic():
        number = ready.update(state=SandboxState.USED)
        what = f"pool of runtime {runtime}"
        acts.done(Kind.DRAINED, what, runtime.pk, http=http, before={"warm sandboxes": number})
    notify(POOL)
    return number


def kill(sandbox: Sandbox, *, http: Any) -> bool:
    """Remove a ready sandbox, or cancel the execution of a claimed one; return False if it was neither.

    `http`: the request of the person who asks for it; the trail records them.
    """
    with transaction.atomic():
        behalf = ""
        if sandbox.execution_id and sandbox.state == SandboxState.CLAIMED:
            outcome = Outcome.CANCEL_REQUESTED
            gone = services.cancel(sandbox.execution_id, outcome=outcome, http=http)
            execution = Execution.objects.filter(pk=sandbox.execution_id).select_related("client").first()
            behalf = execution.behalf if execution else ""
        else:
            # The condition is part of the UPDATE: a run may claim the sandbox at this moment.
            ready = Sandbox.objects.filter(pk=sandbox.pk, state=SandboxState.READY)
            gone = bool(ready.update(state=SandboxState.USED))
        if gone:
            before = {"state": sandbox.state, "runtime": str(sandbox.runtime), "node": sandbox.node}
            if sandbox.execution_id:
                before["execution"] = str(sandbox.execution_id)
            what = f"sandbox {sandbox.container_id}"
            acts.done(Kind.KILLED, what, sandbox.pk, http=http, behalf=behalf, before=before)
    notify(POOL)
    return gone


def resize(runtime: Runtime, *, pool_min: int, pool_max: int) -> None:
    """Change the pool's size without a new revision: runs are not affected, so warm sandboxes stay."""
    runtime.pool_min, runtime.pool_max = pool_min, pool_max
    runtime.save(update_fields=["pool_min", "pool_max", "updated_at"])
