"""Tells whether the platform can run programs now, for /readyz."""

from enum import StrEnum

from django.conf import settings
from django.db import OperationalError

from executions.sources import readiness_problems
from runtimes.models import Runtime
from sandbox_platform.kit import liveness
from sandboxes import nodes
from sandboxes.models import Sandbox, SandboxState


class State(StrEnum):
    READY = "ready"
    # Programs run, but something else does not work: load balancers should keep sending callers here.
    DEGRADED = "degraded"
    NOT_READY = "not ready"


def state() -> tuple[State, list[str]]:
    """Return the state and the problems, as sentences."""
    try:
        if problems := _problems():
            return State.NOT_READY, problems
        if not liveness.callbacks_alive():
            return State.DEGRADED, ["No callbacks service is running: deliveries are pending."]
    except OperationalError:
        return State.NOT_READY, ["Postgres does not answer."]
    return State.READY, []


def _problems() -> list[str]:
    serving = nodes.serving()
    found = [] if serving else _of_this_node()
    runtimes = list(Runtime.objects.enabled())
    if not runtimes:
        found.append("No runtime is enabled.")
    warm = Sandbox.objects.filter(node__in=serving or [settings.SANDBOX_NODE], state=SandboxState.READY)
    ready = set(warm.values_list("runtime_id", flat=True))
    found += [
        f"Runtime {runtime.slug} has no warm sandbox."
        for runtime in runtimes
        if runtime.pool_min and runtime.pk not in ready
    ]
    return found + [problem for problems in readiness_problems() for problem in problems]


def _of_this_node() -> list[str]:
    """Return why this node, and with it every node, runs nothing."""
    node, found = settings.SANDBOX_NODE, []
    if nodes.is_draining():
        found.append(f"Node {node} is being drained, and no other node runs programs.")
    if not liveness.workers_alive(node):
        found.append(f"No worker is running on node {node}.")
    if not liveness.keeper_alive(node):
        found.append(f"No pool keeper is running on node {node}.")
    return found
