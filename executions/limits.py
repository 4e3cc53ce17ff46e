"""What one run may use: the least of what the runtime, the client and the request say."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from executions.models import Client
from runtimes.models import Limits, Runtime

# Held by the worker for each run, from outside; everything else is built into the sandbox before it has a job.
BY_SESSION = ("wall_time_ms", "cpu_time_ms", "output_bytes", "result_bytes", "artifact_count", "artifact_bytes")
# What a client or a request may lower.
PER_RUN = (*BY_SESSION, "memory_bytes")


class LimitTooHigh(ValueError):
    def __init__(self, field: str, cap: int, whose: str) -> None:
        super().__init__(f"{field} is above {whose}, which is {cap}. Ask for at most {cap}.")
        self.field = field
        self.cap = cap
        self.whose = whose


def effective_limits(runtime: Runtime, client: Client | None, requested: Mapping[str, int]) -> Limits:
    """Raises LimitTooHigh for a requested value above its cap: a run under less than was asked for would fail
    later, and nobody would know why. `requested` has names of PER_RUN only."""
    limits = runtime.limits
    values: dict[str, Any] = {}
    for field in PER_RUN:
        cap, whose = getattr(limits, field), f"the limit of the runtime {runtime.slug}"
        clients = getattr(client, f"max_{field}", None)
        if clients is not None and clients < cap:
            cap, whose = clients, f"the cap of the client {client}"
        if requested.get(field, 0) > cap:
            raise LimitTooHigh(field, cap, whose)
        values[field] = requested.get(field, cap)
    return replace(limits, **values)


def limits_of_run(accepted: Mapping[str, int], runtime: Runtime) -> Limits:
    """The limits a run was accepted with, in a sandbox of the runtime as it is now; none above the runtime's."""
    limits = runtime.limits
    lowest: dict[str, Any] = {field: min(accepted[field], getattr(limits, field)) for field in BY_SESSION}
    return replace(limits, **lowest)
