"""What the host sees of an attack: traps that wait for it, a canary, its own state, and the sandboxes' cgroups.

Nothing here asks the guest. All of it needs the platform's host: root there, in the namespaces of the platform.
"""

import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

from sandboxes import cgroup

LOOK_S = 0.1
GONE_WITHIN_S = 30.0
# Files of the host that the cases write to. The address of a file that is missing stays missing.
WATCHED = (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/domainname", "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/vm/overcommit_memory", "/proc/sys/net/ipv4/ip_forward", "/sys/kernel/uevent_helper", "/proc/swaps",
    "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/devices/system/cpu/online", "/etc/passwd",
    "/etc/ld.so.preload",    "/proc/sys/kernel/random/boot_id",
)  # fmt: skip
# Docker's and the platform's own mounts come and go.
THEIRS = (
    "/var/lib/docker", "/run/docker", "/run/sandbox-platform", "/var/lib/containerd", "/run/containerd",
    "/tmp",  # noqa: S108
)  # fmt: skip
LEFT_IN = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/etc")  # noqa: S108


@dataclass
class Sample:
    """The most that was seen of one sandbox while it lived."""

    pids: int = 0
    most_pids: int = 0  # the kernel's limit
    memory_limit: int = 0
    peak_memory: int = 0
    interfaces: frozenset[str] = frozenset()
    is_in_hosts_network: bool = False


@dataclass
class Trap:
    """Listens on the host; whoever comes is recorded with the time."""

    sock: socket.socket
    name: str
    visitors: list[tuple[float, str]] = field(default_factory=list)

    def serve(self) -> None:
        while True:
            try:
                if self.sock.type == socket.SOCK_DGRAM:
                    visitor: object = self.sock.recvfrom(2000)
                else:
                    connection, visitor = self.sock.accept()
                    connection.close()
            except OSError:
                return  # closed
            self.visitors.append((time.time(), str(visitor)[:200]))


class Host:
    """Sets its traps when it is entered and removes them afterwards."""

    def __init__(self, web_port: int, secret_texts: Mapping[str, str]) -> None:
        """`secret_texts`: what no program may ever print, by what it is."""
        self.folder = Path()
        self._secrets = dict(secret_texts)
        self._web_port = web_port
        self.traps: list[Trap] = []
        self.samples: dict[str, Sample] = {}
        self._closed = threading.Event()
        self._network = os.stat("/proc/self/ns/net").st_ino
        self._canary = secrets.token_hex(24)

    @contextmanager
    def watching(self) -> Iterator["Host"]:
        # World-writable on purpose: whoever gets out as nobody can leave a mark here.
        self.folder = Path(tempfile.mkdtemp(prefix="attack-canary-", dir="/var/tmp"))  # noqa: S108
        self.folder.chmod(0o777)  # noqa: S103
        (self.folder / "canary").write_text(self._canary)
        (self.folder / "canary").chmod(0o666)
        self._set_traps()
        sampler = threading.Thread(target=self._sample, daemon=True)
        sampler.start()
        self._before = self._state()
        try:
            yield self
        finally:
            self._closed.set()
            sampler.join()
            for trap in self.traps:
                with suppress(OSError):
                    trap.sock.shutdown(socket.SHUT_RDWR)
                trap.sock.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _set_traps(self) -> None:
        def listening(name: str, kind: int, family: int, address: object) -> Trap:
            sock = socket.socket(family, kind)
            sock.bind(address)  # type: ignore[arg-type]
            if kind == socket.SOCK_STREAM:
                sock.listen()
            trap = Trap(sock, name)
            self.traps.append(trap)
            threading.Thread(target=trap.serve, daemon=True).start()
            return trap

        # On every address: of loopback, of the machine's networks and of Docker's bridges.
        tcp = listening("TCP", socket.SOCK_STREAM, socket.AF_INET, ("0.0.0.0", 0))  # noqa: S104
        udp = listening("UDP", socket.SOCK_DGRAM, socket.AF_INET, ("0.0.0.0", 0))  # noqa: S104
        tcp6_port = 1
        with suppress(OSError):  # without IPv6
            tcp6_port = listening(
                "TCP over IPv6", socket.SOCK_STREAM, socket.AF_INET6, ("::1", 0)
            ).sock.getsockname()[1]
        self._abstract = f"attack-{secrets.token_hex(6)}"
        listening("abstract socket", socket.SOCK_STREAM, socket.AF_UNIX, f"\0{self._abstract}")
        listening("containerd's socket", socket.SOCK_STREAM, socket.AF_UNIX, f"\0containerd-shim/{self._abstract}")
        listening("Unix socket", socket.SOCK_STREAM, socket.AF_UNIX, str(self.folder / "socket"))
        (self.folder / "socket").chmod(0o777)  # noqa: S103
        self._ports = {"TCP": tcp.sock.getsockname()[1], "UDP": udp.sock.getsockname()[1], "TCP6": tcp6_port}

    def values(self) -> dict[str, str]:
        """Return what cases are told of the host."""
        return {
            "CANARY": str(self.folder / "canary"),
            "CANARY_DIR": str(self.folder),
            "UNIX": str(self.folder / "socket"),
            "ABSTRACT": self._abstract,
            "HOST": own_address(),
            "BRIDGE": bridge_address(),
            "WEB": str(self._web_port),
            **{name: str(port) for name, port in self._ports.items()},
        }

    def secrets(self) -> dict[str, str]:
        """Return texts of the host that nothing stored may hold, by what they are."""
        found = {"the canary": self._canary, **self._secrets}
        for name, path in (
            ("the host's boot id", "/proc/sys/kernel/random/boot_id"),
            ("the host's machine id", "/etc/machine-id"),
            ("the host's kernel command line", "/proc/cmdline"),
        ):
            with suppress(OSError):
                found[name] = Path(path).read_text().strip()
        found["the host's kernel release"] = os.uname().release
        # Short texts would be found by chance.
        return {name: text for name, text in found.items() if len(text) >= 8}

    def _state(self) -> dict[str, str]:
        found = {}
        for path in (*WATCHED, *map(str, Path("/sys/fs/cgroup").glob("*/release_agent"))):
            try:
                found[path] = Path(path).read_text()
            except OSError:
                found[path] = ""
        mounts = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
        found["mounts"] = "\n".join(sorted(place for place in mounts if not place.startswith(THEIRS)))
        found["kernel modules"] = "\n".join(sorted(line.split()[0] for line in _lines("/proc/modules")))
        with suppress(OSError):
            found["binary formats"] = "\n".join(sorted(os.listdir("/proc/sys/fs/binfmt_misc")))
        found["the canary's folder"] = "\n".join(sorted(os.listdir(self.folder)))
        with suppress(OSError):
            found["the canary"] = (self.folder / "canary").read_text()
        return found

    def changes(self) -> list[str]:
        """Return what of the host's state has changed since the last call."""
        before, self._before = self._before, self._state()
        return [f"{name} changed on the host" for name in before if before[name] != self._before.get(name)]

    def visitors_since(self, began: float) -> list[str]:
        return [
            f"the trap {trap.name} on the host was reached by {visitor}"
            for trap in self.traps
            for at, visitor in trap.visitors
            if at >= began
        ]

    def traces_of(self, marker: str) -> list[str]:
        """Return processes and files of the host that carry the marker of a case."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                said = (folder / "cmdline").read_bytes() + (folder / "comm").read_bytes()
                if marker.encode() in said:
                    found.append(f"process {folder.name} of the host carries the case's marker")
        for place in LEFT_IN:
            with suppress(OSError):
                found += [f"{place}/{name} is on the host" for name in os.listdir(place) if marker in name]
        return found

    def is_open(self, port: int) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def left_of(self, sandboxes: set[str]) -> list[str]:
        """Return what is left of sandboxes, once nothing is or GONE_WITHIN_S have passed."""
        deadline = time.monotonic() + GONE_WITHIN_S
        while (left := self._left_of(sandboxes)) and time.monotonic() < deadline:
            time.sleep(0.3)
        return left

    def _left_of(self, sandboxes: set[str]) -> list[str]:
        left = [f"cgroup of sandbox {name}" for name in cgroup.names() & sandboxes]
        mounts = Path("/proc/self/mountinfo").read_text()
        left += [f"mount of sandbox {name}" for name in sandboxes if name in mounts]
        for own in ("sandboxes", "runsc"):
            with suppress(OSError):
                names = os.listdir(settings.SANDBOX_RUN_DIR / own)
                left += [f"folder of sandbox {s}" for s in sandboxes if any(s in name for name in names)]
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                line = (folder / "cmdline").read_bytes().decode(errors="replace")
                left += [f"process of sandbox {name}" for name in sandboxes if name in line and "runsc" in line]
        return left

    def _sample(self) -> None:
        while not self._closed.wait(LOOK_S):
            for name in cgroup.names():
                self._look_at(name, self.samples.setdefault(name, Sample()))

    def _look_at(self, name: str, sample: Sample) -> None:
        sample.memory_limit = cgroup.memory_limit(name) or sample.memory_limit
        if used := cgroup.usage(name):
            sample.peak_memory = max(sample.peak_memory, used.peak_memory_bytes)
        if folder := cgroup.folder(name, "pids"):
            with suppress(OSError, ValueError):
                sample.pids = max(sample.pids, int((folder / "pids.current").read_text()))
                sample.most_pids = int((folder / "pids.max").read_text())
        # The last look counts: while a sandbox is made, runsc itself is in its cgroup and not yet in its namespaces.
        with suppress(OSError, IndexError):
            first = cgroup.processes(name)[0]
            lines = Path(f"/proc/{first}/net/dev").read_text().splitlines()[2:]
            sample.is_in_hosts_network = os.stat(f"/proc/{first}/ns/net").st_ino == self._network
            sample.interfaces = frozenset(line.split(":")[0].strip() for line in lines)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def own_address() -> str:
    """Return an address of this machine that is not of loopback, or that of loopback if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # nothing is sent: only the route is looked up
        return str(probe.getsockname()[0])
    return "127.0.0.1"


def bridge_address() -> str:
    """Return the address of Docker's bridge, or its usual one."""
    for line in _lines("/proc/net/fib_trie"):
        address = line.strip().removeprefix("|-- ")
        if address.startswith("172.") and address.endswith(".1"):
            return address
    return "172.17.0.1"


def is_here(url: str) -> bool:
    """Whether the platform at `url` runs on this machine, as far as can be seen: its cgroups are here."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1", own_address()) and os.geteuid() == 0
