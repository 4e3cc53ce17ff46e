"""Reads a sandbox's CPU time and memory from the host's cgroups (v1 and v2)."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings


@dataclass(frozen=True)
class Usage:
    cpu_ms: int
    peak_memory_bytes: int
    oom_kills: int = 0  # processes of the sandbox that the kernel's OOM killer ended


def usage(container_id: str) -> Usage | None:
    """Return the container's usage, or None if it has no cgroup or the host's cgroup tree is not mounted here."""
    for cpu, memory in _places(settings.SANDBOX_CGROUP_ROOT, container_id):
        try:
            return Usage(_cpu_ms(cpu), _peak(memory), _oom_kills(memory))
        except OSError:
            continue
    return None


def held_bytes(container_id: str) -> int | None:
    """Return the container's current memory in bytes, page cache included, or None as in `usage`."""
    for _, memory in _places(settings.SANDBOX_CGROUP_ROOT, container_id):
        for name in ("memory.usage_in_bytes", "memory.current"):
            with contextlib.suppress(OSError):
                return int((memory / name).read_text())
    return None


def processes(container_id: str) -> list[int]:
    """Return the host's processes of a sandbox of the direct engine. Raises OSError if they cannot be read."""
    found = []
    for folder in _own(container_id):
        with contextlib.suppress(FileNotFoundError):
            found += [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
    return found


def kill(container_id: str) -> None:
    """Send SIGKILL to all processes of a sandbox of the direct engine."""
    killed: set[int] = set()
    while fresh := set(processes(container_id)) - killed:
        for pid in fresh:
            if pid <= 0:
                raise OSError(
                    "the sandbox's processes are in another PID namespace"
                )  # and kill(0) is this process
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= fresh


def wait_for_end(container_id: str, patience_s: float) -> bool:
    """Wait until a sandbox of the direct engine has no processes; return whether it has none."""
    deadline = time.monotonic() + patience_s
    while pids := processes(container_id):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        with contextlib.suppress(ProcessLookupError):
            # Wakes at the end of the process, where looking again and again would cost more than the end.
            process = os.pidfd_open(pids[0])
            try:
                select.select([process], [], [], left)
            finally:
                os.close(process)
    return True


def remove(container_id: str) -> None:
    """Remove the cgroups of a sandbox of the direct engine whose processes are gone."""
    for folder in _own(container_id):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _own(container_id: str) -> list[Path]:
    root = settings.SANDBOX_CGROUP_ROOT
    path = f"{settings.SANDBOX_LABEL}/{container_id}"
    if (root / "cgroup.controllers").exists():
        return [root / path]
    return [folder for controller in root.iterdir() if (folder := controller / path).exists()]


def _places(root: Path, container_id: str) -> Iterator[tuple[Path, Path]]:
    # Three layouts: the present one (see docker_engine.CGROUP_PARENT), an earlier release's, and the systemd driver's.
    for parent in (
        f"{settings.SANDBOX_LABEL}/{container_id}",
        f"docker/{container_id}",
        f"system.slice/docker-{container_id}.scope",
    ):
        if (root / "cgroup.controllers").exists():
            yield root / parent, root / parent
        else:
            yield root / "cpuacct" / parent, root / "memory" / parent


def _cpu_ms(folder: Path) -> int:
    v1 = folder / "cpuacct.usage"
    if v1.exists():
        return int(v1.read_text()) // 1_000_000
    fields = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
    return int(fields["usage_usec"]) // 1000


def _peak(folder: Path) -> int:
    for name in ("memory.max_usage_in_bytes", "memory.peak", "memory.current"):
        if (folder / name).exists():
            return int((folder / name).read_text())
    raise FileNotFoundError(folder)


def _oom_kills(folder: Path) -> int:
    for name in ("memory.oom_control", "memory.events"):
        if (folder / name).exists():
            fields = dict(line.split() for line in (folder / name).read_text().splitlines())
            return int(fields.get("oom_kill", 0))
    return 0
