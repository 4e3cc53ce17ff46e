"""Estimates the memory of a warm sandbox."""

from executions.models import Execution
from runtimes.models import MIB, Runtime
from runtimes.sources import IdleMemory
from sandboxes.models import Sandbox, SandboxState

# The lowest peak among this many last runs, that of the smallest program, approximates an idle sandbox.
LOOKED_AT = 200
# Measured by hand, for runtimes without any runs: docs/performance.md and docs/runtimes.md.
MEASURED = {"python": 70 * MIB, "nodejs": 41 * MIB}
OTHERS = 20 * MIB


def idle_memory(runtime: Runtime) -> IdleMemory:
    """Return the estimate, at most the runtime's memory limit, and its source in words."""
    ready = Sandbox.objects.filter(runtime_id=runtime.pk, state=SandboxState.READY)
    if held := [memory for memory in ready.values_list("memory_bytes", flat=True) if memory]:
        return IdleMemory(
            min(runtime.memory_bytes, sum(held) // len(held)), "the present average of its warm sandboxes"
        )
    # Skip runs without a figure only after the query: a history without figures must not be read from end to end.
    last = Execution.objects.filter(runtime_id=runtime.pk).order_by("-id")[:LOOKED_AT]
    seen = [peak for peak in last.values_list("peak_memory_bytes", flat=True) if peak]
    if seen:
        return IdleMemory(min(runtime.memory_bytes, *seen), f"the lowest peak of its last {len(seen)} runs")
    known = MEASURED.get(runtime.slug)
    source = (
        "as measured in docs/performance.md (no runs yet)"
        if known
        else "typical of small runtimes (no runs yet; this one may need more)"
    )
    return IdleMemory(min(runtime.memory_bytes, known or OTHERS), source)
