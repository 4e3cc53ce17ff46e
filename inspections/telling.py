"""The facts of a description in words, for its page and for docs/runtimes/."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from inspections.describing import ECOSYSTEMS, SYSTEM
from runtimes.models import Network
from sandbox_platform.kit.units import format_bytes, format_ms
from seccomp_profiles.models import UNCONFINED

UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}
NETWORKS = {
    Network.NONE: "None. Nothing leaves the sandbox, and no name of another host resolves.",
    Network.EGRESS: "HTTP and HTTPS to the allowed hosts, for clients with egress; none for others.",
}


@dataclass(frozen=True)
class Row:
    label: str
    value: str = ""
    note: str = ""
    is_code: bool = False
    items: tuple[tuple[str, str], ...] = ()  # several values in place of one, each with its note
    of_this_machine: bool = False  # left out of the shipped pages


@dataclass(frozen=True)
class Group:
    title: str
    rows: list[Row]


@dataclass(frozen=True)
class Packages:
    ecosystem: str
    title: str
    found: list[list[str]]

    @property
    def is_system(self) -> bool:
        return self.ecosystem in SYSTEM


def groups(facts: dict[str, Any]) -> list[Group]:
    found = [
        Group("Language and system", list(_system(facts))),
        Group("User and files", list(_files(facts))),
        Group("Memory, processes and output", list(_memory(facts))),
        Group("Time", list(_time(facts))),
        Group("Network", list(_network(facts))),
    ]
    return [Group(group.title, [row for row in group.rows if row.value or row.items]) for group in found]


def packages(facts: dict[str, Any]) -> list[Packages]:
    return [
        Packages(name, title, facts["packages"][name])
        for name, title in ECOSYSTEMS.items()
        if name in facts["packages"]
    ]


def environment(facts: dict[str, Any]) -> list[tuple[str, str]]:
    return sorted(facts["environment"].items())


def _system(facts: dict[str, Any]) -> Iterator[Row]:
    yield Row(
        "Version", facts["version"] or "unknown", "" if facts["version"] else "no command is known that prints it"
    )
    yield Row("Operating system", facts["os"])
    yield Row(
        "Kernel", facts["kernel"], "what gVisor answers; the host's kernel is not visible", of_this_machine=True
    )
    other = facts["collected_under"] != facts["profile"]
    yield Row(
        "Seccomp profile",
        facts["profile"],
        f"/bin/sh did not run under it: these facts were collected under {UNCONFINED}" if other else "",
    )


def _files(facts: dict[str, Any]) -> Iterator[Row]:
    user = facts["user"]
    yield Row("User", f"{user['name'] or 'no name'} (uid {user['uid']}, gid {user['gid']})")
    yield Row("Home", facts["home"], "writable" if facts["home_is_writable"] else "not writable", is_code=True)
    yield Row("Working directory", facts["folder"], is_code=True)
    environment = facts["environment"]
    yield Row("Temporary files", environment.get("TMPDIR", "/tmp"), is_code=True)  # noqa: S108
    sizes = {path: size_of(size) for path, size in facts["mounts"]}
    items = tuple(
        (folder, f"{format_bytes(size)} in memory" if (size := sizes.get(folder)) else "")
        for folder in facts["written"]
    )
    yield Row("Writable folders", items=items)
    yield Row("Everything else", "read-only")


def _memory(facts: dict[str, Any]) -> Iterator[Row]:
    limits = facts["limits"]
    seen = facts["memory_kib"] * 1024
    yield Row(
        "Memory",
        format_bytes(limits["memory_bytes"]),
        f"including files; /proc/meminfo says {format_bytes(seen)}" if seen else "including files",
    )
    yield Row("Processes and threads", facts["processes"] or str(limits["processes"]))
    yield Row("Open files", facts["open_files"] or str(limits["open_files"]), "per process")
    file_bytes = facts["file_bytes"]
    yield Row("Largest file", format_bytes(int(file_bytes)) if file_bytes.isdigit() else file_bytes)
    yield Row("Cores", f"{limits['cpus']:g} at a time")
    yield Row("Visible cores", facts["cpus"], "those of the host", of_this_machine=True)
    yield Row("Visible processes", ", ".join(facts["running"]), "/bin/sh is the program that looked")
    yield Row("Kept output", f"{format_bytes(limits['output_bytes'])} of stdout, and as much of stderr")
    yield Row("Kept files", f"{limits['artifact_count']} of up to {format_bytes(limits['artifact_bytes'])} each")


def _time(facts: dict[str, Any]) -> Iterator[Row]:
    limits, environment = facts["limits"], facts["environment"]
    yield Row("Wall time", format_ms(limits["wall_time_ms"]))
    yield Row("CPU time", format_ms(limits["cpu_time_ms"]), "of all processes together")
    if facts["compiles"]:
        yield Row(
            "Compilation", f"{format_ms(limits['compile_wall_ms'])}, CPU {format_ms(limits['compile_cpu_ms'])}"
        )
    yield Row("Time zone", facts["timezone"])
    yield Row("Locale", environment.get("LC_ALL") or environment.get("LANG") or "C")


def _network(facts: dict[str, Any]) -> Iterator[Row]:
    yield Row("Access", NETWORKS[Network(facts["network"])])
    yield Row("Host name", facts["hostname"], is_code=True)
    yield Row("Names that resolve", ", ".join(facts["hosts"]))
    yield Row("Interfaces", ", ".join(facts["interfaces"]))


def size_of(size: int | str) -> int:
    """Return the bytes of a mount's size option, such as 50m; 0 for one that is a share of something."""
    text = str(size).lower()
    number, unit = (text[:-1], UNITS[text[-1]]) if text[-1:] in UNITS else (text, 1)
    return int(number) * unit if number.isdigit() else 0
