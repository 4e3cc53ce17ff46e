"""The host's cgroups (v1 and v2): a sandbox's CPU time and memory, and for the direct engine its processes.

The direct engine's cgroups are made by runsc, in the tree itself and not through systemd, so they have the same path
under either cgroup driver of Docker. Docker's are where its driver and its `cgroup-parent` put them: they are looked
for in the tree, by the container's id.
"""

import contextlib
import errno
import functools
import os
import re
import select
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from sandboxes import own_cgroup
from sandboxes.layout import CGROUP_SLICE

# SANDBOX_CGROUP_PARENT
AUTO = "auto"

# Of Docker's containers, under either driver. The direct engine's names are shorter.
DOCKERS = re.compile(r"(?:docker-)?([0-9a-f]{64})(?:\.scope)?")
# Where Docker puts containers that name no parent of their own.
DOCKERS_OWN = ("docker", "system.slice")
# The whole tree is gone through at most this often, for all containers together that are in no known parent.
SEARCH_EVERY_S = 2.0
REMOVALS = 50


@dataclass(frozen=True)
class Usage:
    cpu_ms: int
    peak_memory_bytes: int
    oom_kills: int = 0  # processes of the sandbox that the kernel's OOM killer ended


def usage(container_id: str) -> Usage | None:
    """Return the container's usage, or None if it has no cgroup or the host's cgroup tree is not mounted here."""
    cpu, memory = folder(container_id, "cpuacct"), folder(container_id, "memory")
    if not cpu or not memory:
        return None
    try:
        return Usage(_cpu_ms(cpu), _peak(memory), _oom_kills(memory))
    except OSError:
        return None


def held_bytes(container_id: str) -> int | None:
    """Return the container's current memory in bytes, page cache included, or None as in `usage`."""
    return _number(container_id, "memory", ("memory.usage_in_bytes", "memory.current"))


def memory_limit(container_id: str) -> int | None:
    """Return the memory limit that the kernel enforces for a sandbox in bytes, or None if there is none."""
    return _number(container_id, "memory", ("memory.limit_in_bytes", "memory.max"))


def cpu_weight(container_id: str) -> int | None:
    """Return the weight of a sandbox among its neighbours (v1: shares, at least 2; v2: at least 1), or None."""
    return _number(container_id, "cpu", ("cpu.shares", "cpu.weight"))


def _number(container_id: str, controller: str, names: Iterable[str]) -> int | None:
    if place := folder(container_id, controller):
        for name in names:
            with contextlib.suppress(OSError, ValueError):  # "max": no limit
                return int((place / name).read_text())
    return None


def folder(container_id: str, controller: str) -> Path | None:
    """Return a sandbox's cgroup, on v1 the one in the hierarchy of this controller."""
    top = _top(controller)
    parents: list[str] = [parent_path(), CGROUP_SLICE, *DOCKERS_OWN, *_learned.get(top, ())]
    for parent in parents:
        for name in (container_id, f"docker-{container_id}.scope"):
            if (found := top / parent / name).is_dir():
                return found
    return _search(top, container_id) if DOCKERS.fullmatch(container_id) else None


def _top(controller: str) -> Path:
    root: Path = settings.SANDBOX_CGROUP_ROOT
    return root if version() == 2 else root / controller


# Parents that are in no list, as with Docker's `cgroup-parent`, by the top of the tree in which they were found.
_learned: dict[Path, set[str]] = {}
# The last search, by the top of the tree: when it is too old, and the cgroups that it found, by their containers.
_searched: dict[Path, tuple[float, dict[str, Path]]] = {}


def _search(top: Path, container_id: str) -> Path | None:
    until, places = _searched.get(top, (0.0, {}))
    if time.monotonic() >= until:
        # The uppermost of each, last: below a container is the tree of another daemon.
        found_there = sorted(_dockers(top), key=lambda found: -len(found[0].parts))
        places = {name: place for place, name in found_there}
        _searched[top] = time.monotonic() + SEARCH_EVERY_S, places
    found = places.get(container_id)
    if found is None or not found.is_dir():
        return None
    _learned.setdefault(top, set()).add(str(found.parent.relative_to(top)))
    return found


def _dockers(top: Path) -> Iterator[tuple[Path, str]]:
    """Yield the cgroups that have a name like those of Docker's containers, with their ids."""
    for path, folders, _ in os.walk(top):
        for name in folders:
            if found := DOCKERS.fullmatch(name):
                yield Path(path) / name, found[1]


def other_parents() -> set[str]:
    """Return the parents of containers that are neither Docker's own nor ours.

    An operator's `cgroup-parent` is one, but other engines name their containers in the same way.
    """
    top = _top("memory")
    places = [found.parent.relative_to(top) for found, _ in _dockers(top)]
    # Below a container is the tree of another daemon.
    parents = {str(place) for place in places if not any(DOCKERS.fullmatch(part) for part in place.parts)}
    return parents - {parent_path(), CGROUP_SLICE, *DOCKERS_OWN}


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
        for _ in range(REMOVALS):
            try:
                folder.rmdir()
            except OSError as e:
                if e.errno == errno.EBUSY:
                    # A process that is no longer listed may not have left yet, which was seen on cgroup v2.
                    time.sleep(0.01)
                    continue
            break


def names() -> set[str]:
    """Return the ids of all sandboxes that have a cgroup, whichever engine started them."""
    found = set()
    for parent in [*_own(""), settings.SANDBOX_CGROUP_ROOT / CGROUP_SLICE]:
        with contextlib.suppress(OSError):
            found |= {one.name for one in parent.iterdir() if one.is_dir()}
    return {match[1] if (match := DOCKERS.fullmatch(name)) else name for name in found}


def version() -> int:
    return 2 if (settings.SANDBOX_CGROUP_ROOT / "cgroup.controllers").exists() else 1


def missing_controllers() -> list[str]:
    """Return the controllers that limit a sandbox and that the host's tree does not have."""
    root = settings.SANDBOX_CGROUP_ROOT
    if version() == 2:
        here = (root / "cgroup.controllers").read_text().split()
        # runsc sets nothing of cpuset, but starts no sandbox without it.
        return [name for name in ("cpu", "cpuset", "memory", "pids") if name not in here]
    return [name for name in ("cpu", "cpuacct", "memory", "pids") if not (root / name).is_dir()]


def check_writable() -> None:
    """Make and remove a cgroup beside the sandboxes'. Raises OSError."""
    root = settings.SANDBOX_CGROUP_ROOT
    folder = (root if version() == 2 else root / "memory") / parent_path()
    folder.mkdir(exist_ok=True)
    probe = folder / f"probe-{os.getpid()}"
    probe.mkdir(exist_ok=True)
    probe.rmdir()


def prepare_own() -> None:
    """Let this process's own cgroup have groups with limits below it, as sandboxes are. Raises OSError."""
    own_cgroup.make_writable(settings.SANDBOX_CGROUP_ROOT)
    if version() == 2:
        own_cgroup.delegate(settings.SANDBOX_CGROUP_ROOT)


def parent_path() -> str:
    """Return the path in the tree of the cgroup that has the direct engine's sandboxes. Raises OSError."""
    if settings.SANDBOX_CGROUP_PARENT != AUTO:
        return settings.SANDBOX_LABEL
    return _below_own(settings.SANDBOX_CGROUP_ROOT, version())


@functools.cache
def _below_own(root: Path, version: int) -> str:
    # Cached: a process stays in its group, but for the move at the start, which changes nothing here.
    own = own_cgroup.path(root, version)
    return f"{own}/{settings.SANDBOX_LABEL}" if own else settings.SANDBOX_LABEL


def _own(container_id: str) -> list[Path]:
    root = settings.SANDBOX_CGROUP_ROOT
    path = f"{parent_path()}/{container_id}"
    if version() == 2:
        return [root / path]
    return [folder for controller in root.iterdir() if (folder := controller / path).exists()]


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
