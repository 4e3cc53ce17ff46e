"""This process's own cgroup, below which its sandboxes are in a pod: the pod's limits then hold for all of them.

A container sees its own cgroup as the top of the tree that its runtime mounts at /sys/fs/cgroup: on v2, and on v1 with
a cgroup namespace, because /proc/self/cgroup starts there, and on v1 without one because the mounts do. Where the
host's tree is mounted, the path in it is that of /proc/self/cgroup.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PROC = Path("/proc/self")
# Those that limit a sandbox; on v1 each is a tree of its own, or shares one.
V1 = ("cpu", "cpuacct", "memory", "pids")
V2 = ("cpu", "cpuset", "memory", "pids")
# On v2, the child in which the processes of the platform are: a group with controllers for its children has no
# processes of its own.
LEAF = "platform-processes"
MOVES = 100
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
# The other flags of a mount stay as they are.
FLAGS = {"nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "relatime": 1 << 21}


class Unknown(OSError):
    """The tree does not show this process's cgroup, or cannot be used below it. The message has the remedy."""


@dataclass(frozen=True)
class Mount:
    """A mount of the cgroup tree. `top`: what of the tree is seen at `place`."""

    top: str
    place: str
    options: frozenset[str]


def path(root: Path, version: int) -> str:
    """Return the path of this process's cgroup in the tree that is mounted at `root`; "" for its top.

    That of the group that has the LEAF, if the process is in it. Raises Unknown.
    """
    memberships = _memberships()
    mounts = {mount.place: mount for mount in _mounts()}
    found = set()
    for controller in ("",) if version == 2 else V1:
        place = os.path.realpath(root / controller)
        if controller not in memberships or place not in mounts:
            raise Unknown(f"{place} is no mount of the cgroup tree{f' of {controller}' if controller else ''}")
        found.add(_seen(memberships[controller], mounts[place]))
    if len(found) > 1:
        raise Unknown(f"this process is in several groups of {root}: {', '.join(sorted(found))}")
    parts = PurePosixPath(found.pop()).parts
    return "/".join(parts[:-1] if parts[-1:] == (LEAF,) else parts)


def _seen(group: str, mount: Mount) -> str:
    """Return the path of a group below the mount."""
    if not PurePosixPath(group).is_relative_to(mount.top) or ".." in PurePosixPath(group).parts:
        raise Unknown(
            f"the tree at {mount.place} does not show this process's group, {group}: do not mount the host's"
            " /sys/fs/cgroup into this container, which has its own"
        )
    return str(PurePosixPath(group).relative_to(mount.top))


def _memberships() -> dict[str, str]:
    """Return the paths of this process's groups by controller, on v2 that of "", as its cgroup namespace sees them."""
    found: dict[str, str] = {}
    for line in (PROC / "cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        found |= dict.fromkeys(controllers.split(","), group)
    return found


def _mounts() -> Iterator[Mount]:
    """Yield the mounts of cgroup trees. Of several at one place the last counts, which covers the others."""
    for line in (PROC / "mountinfo").read_text().splitlines():
        fields, _, kind = line.partition(" - ")
        _, _, _, top, place, options, *_ = fields.split()
        if kind.split()[0] in ("cgroup", "cgroup2"):
            yield Mount(top, place, frozenset(options.split(",")))


def make_writable(root: Path) -> None:
    """Make this container's own mounts of the tree writable, which its runtime makes read-only. Raises OSError.

    Only what is below the container's own group is seen there. Needs CAP_SYS_ADMIN.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for mount in list(_mounts()):
        if "ro" not in mount.options or not Path(mount.place).is_relative_to(root):
            continue
        flags = MS_REMOUNT | MS_BIND | sum(value for name, value in FLAGS.items() if name in mount.options)
        if libc.mount(None, mount.place.encode(), None, ctypes.c_ulong(flags), None):
            number = ctypes.get_errno()
            raise OSError(number, f"{mount.place} cannot be made writable: {os.strerror(number)}")


def delegate(root: Path) -> None:
    """Let groups below this process's own have limits, on v2: move the processes into a leaf. Raises OSError.

    May be called again, and by a process in the leaf.
    """
    own = root / path(root, 2)
    here = (own / "cgroup.controllers").read_text().split()
    if missing := [name for name in V2 if name not in here]:
        raise Unknown(f"the group {own} has no controller {', '.join(missing)}: its parent gives it none")
    leaf = own / LEAF
    leaf.mkdir(exist_ok=True)
    for _ in range(MOVES):
        if not (there := (own / "cgroup.procs").read_text().split()):
            break
        for pid in there:
            _move(pid, leaf)
    else:
        raise Unknown(f"the processes of {own} do not leave it: {', '.join(there)}")
    (own / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in V2))


def _move(pid: str, leaf: Path) -> None:
    if pid == "0":
        raise Unknown(f"the group of {leaf.parent} has processes of another PID namespace")
    try:
        (leaf / "cgroup.procs").write_text(pid)
    except OSError as e:
        if e.errno != errno.ESRCH:  # ended meanwhile
            raise
