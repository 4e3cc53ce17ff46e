"""The limits of both sides: wide enough that no case meets one by accident."""

from runtimes.models import MIB, Limits

LIMITS = Limits(
    wall_time_ms=60_000,
    cpu_time_ms=60_000,
    cpus=1.5,
    memory_bytes=1024 * MIB,
    processes=128,
    open_files=256,
    workspace_bytes=64 * MIB,
    tmp_bytes=64 * MIB,
    output_bytes=100 * MIB,
    output_action="cut",
    result_bytes=MIB,
    artifact_count=50,
    artifact_bytes=32 * MIB,
)
