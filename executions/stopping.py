"""What a node does before it stops: it takes no task, and its runs end or are handed back."""

import time
from dataclasses import dataclass

from django.conf import settings
from django.db.models import QuerySet

from executions.models import Execution, Status
from executions.requeueing import hand_back
from sandboxes import nodes
from sandboxes.models import Sandbox

LOOK_S = 0.5
# For the removal of what is left: the keeper removes sandboxes one after the other, each within seconds.
REMOVAL_S = 20.0


@dataclass(frozen=True)
class Left:
    """What was there at the end of the time: runs that still went on, runs that were queued again, and sandboxes."""

    running: int
    handed_back: int
    sandboxes: int

    def summary(self) -> str:
        return f"{self.running} runs go on, {self.handed_back} were queued again, {self.sandboxes} sandboxes are left."


def stop(patience_s: float) -> Left:
    """Drain this node and wait, up to `patience_s`, until it has no runs; then hand back those that have not begun.

    Then wait for its keeper to remove the sandboxes. Nothing is killed: what still runs has the rest of the time that
    the node's processes are given. Raises UnknownNode.
    """
    # Once it is committed, no worker takes anything: see TAKE in kit.broker.
    nodes.stop()
    deadline = time.monotonic() + patience_s
    while (running := _running()) and time.monotonic() < deadline:
        time.sleep(min(LOOK_S, max(0.0, deadline - time.monotonic())))
    handed_back = _hand_back() if running else 0
    running = _running()
    deadline = time.monotonic() + REMOVAL_S
    while (sandboxes := _sandboxes()) > running and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    return Left(running, handed_back, sandboxes)


def _here() -> QuerySet[Execution]:
    return Execution.objects.filter(node=settings.SANDBOX_NODE, status=Status.RUNNING)


def _running() -> int:
    return _here().count()


def _sandboxes() -> int:
    return Sandbox.objects.filter(node=settings.SANDBOX_NODE).count()


def _hand_back() -> int:
    """Queue the runs again for which no sandbox is claimed: no program of theirs has begun."""
    return sum(hand_back(pk, requeues) for pk, requeues in list(_here().values_list("pk", "requeues")))
