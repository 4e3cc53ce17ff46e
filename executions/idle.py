"""What a warm sandbox that waits costs in memory."""

from executions.models import Execution
from runtimes.models import MIB, Runtime
from runtimes.sources import IdleMemory
from sandboxes.models import Sandbox, SandboxState

# Of so many of the last runs the least peak is taken: what is left of it without a program of any size.
LOOKED_AT = 200
# Measured by hand, for runtimes that nothing ran on yet: docs/performance.md and docs/runtimes.md.
MEASURED = {"python": 70 * MIB, "nodejs": 41 * MIB}
OTHERS = 20 * MIB


def idle_memory(runtime: Runtime) -> IdleMemory:
    """Never more than its limit."""
    ready = Sandbox.objects.filter(runtime_id=runtime.pk, state=SandboxState.READY)
    if held := [memory for memory in ready.values_list("memory_bytes", flat=True) if memory]:
        return IdleMemory(
            min(runtime.memory_bytes, sum(held) // len(held)), "what the warm ones hold now, on average"
        )
    # Those without a figure are left out afterwards: a history that has none must not be read to its begin.
    last = Execution.objects.filter(runtime_id=runtime.pk).order_by("-id")[:LOOKED_AT]
    seen = [peak for peak in last.values_list("peak_memory_bytes", flat=True) if peak]
    if seen:
        return IdleMemory(
            min(runtime.memory_bytes, *seen), f"the least that one of its last {len(seen)} runs took"
        )
    known = MEASURED.get(runtime.slug)
    source = "as docs/performance.md has it" if known else "what a small one takes; yours may take more"
    return IdleMemory(min(runtime.memory_bytes, known or OTHERS), f"{source}: nothing has run on it yet")
