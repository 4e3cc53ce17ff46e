"""What one run may use, and which of it a caller may lower."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

MIB = 1024**2
# Limits that a caller may lower for one execution: the session and the job enforce them, not the container's flags
# (except for memory: see SandboxConfiguration.is_pooled).
ADJUSTABLE = (
    "wall_time_ms",
    "cpu_time_ms",
    "memory_bytes",
    "output_bytes",
    "result_bytes",
    "artifact_count",
    "artifact_bytes",
)


@dataclass(frozen=True)
class Limits:
    """What one run may use. Times in milliseconds, sizes in bytes, cpus in cores."""

    wall_time_ms: int
    cpu_time_ms: int
    cpus: float
    memory_bytes: int
    processes: int
    open_files: int
    workspace_bytes: int
    tmp_bytes: int
    output_bytes: int
    output_action: str
    result_bytes: int
    artifact_count: int
    artifact_bytes: int
    # These have defaults for stored executions from before the compile step existed.
    compile_wall_ms: int = 30_000
    compile_cpu_ms: int = 30_000

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def lowered_to(self, wanted: Mapping[str, Any]) -> "Limits":
        """Return a copy with the adjustable limits lowered to `wanted`. Higher wanted values have no effect."""
        lower = {name: min(getattr(self, name), wanted.get(name, math.inf)) for name in ADJUSTABLE}
        return replace(self, **lower)
