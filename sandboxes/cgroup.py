"""The host's cgroups (v1 and v2): a sandbox's CPU time and memory, and for the direct engine its processes.

The direct engine's cgroups are made by runsc, in the tree itself and not through systemd, so they have the same path
under either cgroup driver of Docker.
"""

import contextlib
import errno
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


def memory_limit(container_id: str) -> int | None:
    """Return the memory limit that the kernel enforces for a sandbox in bytes, or None if there is none."""
    for _, memory in _places(settings.SANDBOX_CGROUP_ROOT, container_id):
        for name in ("memory.limit_in_bytes", "memory.max"):
            with contextlib.suppress(OSError, ValueError):  # "max": no limit
                return int((memory / name).read_text())
    return None


def processes(container_id: str) -> list[int]:
    """Return the host's processes of a sandbox of the direct engine. Raises OSError if they cannot be read."""
    found = []
    for folder in _own(container_id):
        try:
            found += [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
        except OSError as e:
            # ENODEV: removed between opening and reading.
            if e.errno not in (errno.ENOENT, errno.ENODEV):
                raise
    return found


def kill(container_id: str) -> None:
    """Send SIGKILL to all processes of a sandbox of the direct engine."""
    for folder in _own(container_id):
        # Cgroup v2, Linux 5.14: all at once, also those that are being forked.
        if (folder / "cgroup.kill").exists():
            with contextlib.suppress(FileNotFoundError):
                (folder / "cgroup.kill").write_text("1")
                return
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
            # A process that has ended stays listed until its parent has reaped it.
            time.sleep(0.001)
    return True


def remove(container_id: str) -> None:
    """Remove the cgroups of a sandbox of the direct engine whose processes are gone."""
    for folder in _own(container_id):
        with contextlib.suppress(OSError):
            folder.rmdir()


def names() -> set[str]:
    """Return the names of the cgroups of all sandboxes on cgroupfs, whichever engine started them."""
    found = set()
    for parent in _own(""):
        with contextlib.suppress(OSError):
            found |= {folder.name for folder in parent.iterdir() if folder.is_dir()}
    return found


def version() -> int:
    return 2 if (settings.SANDBOX_CGROUP_ROOT / "cgroup.controllers").exists() else 1


def missing_controllers() -> list[str]:
    """Return the controllers that limit a sandbox and that the host's tree does not have."""
    root = settings.SANDBOX_CGROUP_ROOT
    if version() == 2:
        here = (root / "cgroup.controllers").read_text().split()
        return [name for name in ("cpu", "memory", "pids") if name not in here]
    return [name for name in ("cpu", "cpuacct", "memory", "pids") if not (root / name).is_dir()]


def check_writable() -> None:
    """Make and remove a cgroup beside the sandboxes'. Raises OSError."""
    root = settings.SANDBOX_CGROUP_ROOT
    parent = (root if version() == 2 else root / "memory") / settings.SANDBOX_LABEL
    parent.mkdir(exist_ok=True)
    probe = parent / f"probe-{os.getpid()}"
    probe.mkdir(exist_ok=True)
    probe.rmdir()


def _own(container_id: str) -> list[Path]:
    root = settings.SANDBOX_CGROUP_ROOT
    path = f"{settings.SANDBOX_LABEL}/{container_id}"
    if version() == 2:
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
