"""Linux's system calls, and which of them gVisor knows. The data is in syscalls.tsv."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

TABLE = Path(__file__).with_suffix(".tsv")
# Names that release 20240729, which Debian has, does not know. The table is about current releases.
RECENT = frozenset({"openat2", "pidfd_getfd"})


@dataclass(frozen=True)
class Syscall:
    name: str
    architectures: tuple[str, ...]  # those on which gVisor knows the name; on others it skips the name silently
    support: str  # full, partial or none: how far gVisor implements the call; "" if it does not know the name
    description: str

    @property
    def known(self) -> bool:
        return bool(self.architectures)


@functools.cache
def table() -> Mapping[str, Syscall]:
    rows = (line.split("\t") for line in TABLE.read_text("utf-8").splitlines() if not line.startswith("#"))
    return MappingProxyType(
        {
            name: Syscall(name, tuple(architectures.replace("-", "").split()), support.strip("-"), description)
            for name, architectures, support, description in rows
        }
    )


@functools.cache
def known() -> frozenset[str]:
    """Return the names that gVisor knows on any architecture."""
    return frozenset(name for name, syscall in table().items() if syscall.known)


def describe(name: str) -> str:
    syscall = table().get(name)
    return syscall.description if syscall else ""
