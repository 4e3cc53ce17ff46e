"""Install packages with the machine's own apt configuration, and derive sources for Debian 13 from it."""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.setup.host import Release, SetupError, detail, follow, release, run, tail, write_root_file

OURS = Path("/etc/apt/sources.list.d/sandbox-platform.sources")
PIN = Path("/etc/apt/preferences.d/sandbox-platform")
PIN_TEXT = """\
# Debian 13 is a source for the packages that Sandbox Platform names, and upgrades nothing else.
Package: *
Pin: release n=trixie*
Pin-Priority: 100
"""


@dataclass(frozen=True)
class Source:
    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""

    def render(self) -> str:
        lines = [
            "Types: deb",
            f"URIs: {' '.join(self.uris)}",
            f"Suites: {' '.join(self.suites)}",
            f"Components: {' '.join(self.components)}",
        ]
        if self.signed_by:
            lines.append(f"Signed-By: {self.signed_by}")
        return "\n".join(lines) + "\n"


def parse_deb822(text: str) -> list[Source]:
    """Return the enabled binary sources of a `.sources` file."""
    sources = []
    for paragraph in re.split(r"\n[ \t]*\n", re.sub(r"(?m)^#.*\n?", "", text)):
        fields: dict[str, str] = {}
        name = ""
        for line in paragraph.splitlines():
            if line[:1].isspace():
                # An inline key (Signed-By) spans several lines, and its line breaks must be kept.
                fields[name] = fields.get(name, "") + "\n" + line.rstrip()
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.strip().lower()
                fields[name] = value.strip()
        enabled = fields.get("enabled", "yes").strip().lower() not in {"no", "false", "0"}
        if enabled and "deb" in fields.get("types", "").split() and fields.get("uris"):
            sources.append(
                Source(
                    tuple(fields["uris"].split()),
                    tuple(fields.get("suites", "").split()),
                    tuple(fields.get("components", "").split()),
                    fields.get("signed-by", ""),
                )
            )
    return sources


def parse_one_line(text: str) -> list[Source]:
    """Parse the `deb [options] uri suite component...` lines of a `.list` file."""
    sources = []
    for raw in text.splitlines():
        found = re.match(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*(.*)", raw.split("#", 1)[0].strip())
        if found:
            options, uri, suite, components = found.groups()
            signed = re.search(r"signed-by=(\S+)", options or "", re.IGNORECASE)
            signed_by = signed.group(1) if signed else ""
            sources.append(Source((uri,), (suite,), tuple(components.split()), signed_by))
    return sources


def read_sources(etc_apt: Path = Path("/etc/apt")) -> list[Source]:
    sources: list[Source] = []
    for path in [etc_apt / "sources.list", *sorted((etc_apt / "sources.list.d").glob("*"))]:
        if path == OURS or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".sources":
            sources += parse_deb822(text)
        elif path.suffix == ".list":
            sources += parse_one_line(text)
    return sources


def derive(
    sources: Iterable[Source], codename: str, suites: Sequence[str], security: Sequence[str]
) -> list[Source]:
    """Return the same mirrors with other suites.

    The archive mirror is the source that serves `codename`, the security mirror the one that serves
    `codename-security`. Without a security mirror, fixes arrive with the next point release.
    """
    derived: list[Source] = []
    for wanted, replaced in ((codename, suites), (f"{codename}-security", security)):
        for source in sources:
            if wanted in [suite.removesuffix("/updates").rstrip("/") for suite in source.suites]:
                one = replace(source, suites=tuple(replaced), components=("main",))
                if one not in derived:
                    derived.append(one)
    return derived


def trixie_sources() -> list[Source]:
    """Return sources for Debian 13 on this machine's mirrors, or [] if the machine does not run Debian."""
    here = release()
    if here.distribution != "debian":
        return []
    return derive(read_sources(), here.codename, ["trixie", "trixie-updates"], ["trixie-security"])


def add_trixie() -> bool:
    """Add Debian 13 and the backports to a Debian 12, pinned so low that they upgrade nothing.

    Return False if they were already configured.
    """
    sources = derive(read_sources(), "bookworm", ["trixie", "bookworm-backports"], ["trixie-security"])
    if not sources:
        raise SetupError(
            "apt sources",
            "no enabled source in /etc/apt serves Debian 12 (bookworm)",
            "configure one, then run `make`",
        )
    text = "\n".join(source.render() for source in sources)
    if OURS.exists() and OURS.read_text(encoding="utf-8") == text and PIN.exists():
        return False
    # Write the pin first: without it, Debian 13 would upgrade the whole machine between the two writes.
    write_root_file(PIN, PIN_TEXT)
    write_root_file(OURS, text)
    global _updated
    _updated = False
    return True


_updated = False
# gVisor and the images are made at the same time, and apt's lists have one user at a time.
_updating = threading.Lock()


def update() -> None:
    """Run apt-get update once per process. An unreachable source matters only if a package is then missing."""
    global _updated
    with _updating:
        if not _updated:
            line = ["env", *APT_WORDS, "apt-get", "update", "-q"]
            done = follow(line, root=True, silence_s=SILENCE_S, shown=progress)
            if done.returncode != 0:
                detail(f"apt-get update reported errors, continuing:\n{tail(done, 4)}")
            _updated = True


APT_ENV = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


# As words of a command, because sudo clears the environment.
APT_WORDS = [f"{name}={value}" for name, value in APT_ENV.items()]
# Without a line from apt. A large package takes as long on a slow line, and a kernel's scripts on a slow machine.
SILENCE_S = 1800.0


def progress(line: str) -> str:
    """Return what a line of apt's tells of its progress, "" if nothing."""
    found = re.match(r"(Get|Hit|Ign):\d+ \S+ (.*)|(Unpacking|Setting up|Processing triggers for) (\S+)", line)
    if not found:
        return ""
    if found[3]:
        return f"apt: {found[3].lower()} {found[4]}"
    return f"apt: fetching {' '.join(word for word in found[2].split() if '://' not in word)}"


def install(packages: Sequence[str]) -> None:
    update()
    done = follow(
        [
            "env", *APT_WORDS,
            "apt-get", "install", "-y", "-q", "--no-install-recommends",
            "-o", "DPkg::Lock::Timeout=180", "-o", "Dpkg::Options::=--force-confold",
            *packages,
        ],
        root=True,
        silence_s=SILENCE_S,
        shown=progress,
    )  # fmt: skip
    if done.returncode:
        raise SetupError(
            f"apt packages {' '.join(packages)}",
            f"`apt-get install` exited with status {done.returncode}\n{tail(done)}",
            f"apt-get update && apt-get install --no-install-recommends {shlex.join(packages)}",
        )


def is_offered(package: str) -> bool:
    update()
    policy = run(["apt-cache", "policy", package], env=APT_ENV).stdout
    return "Candidate:" in policy and "Candidate: (none)" not in policy


def package_names(components: Iterable[str], here: Release) -> list[str]:
    """Map component names (docker, compose, buildx, gvisor, mmdebstrap, venv, …) to apt's names on this release."""
    debian = {
        "docker": ["docker.io", "containerd", "docker-cli"],
        "compose": ["docker-compose"],
        "buildx": ["docker-buildx"],
        "gvisor": ["runsc"],
        "go": ["golang-go", "golang-src"],
    }
    ubuntu = {
        "docker": ["docker.io"],
        "compose": ["docker-compose-v2"],
        "buildx": ["docker-buildx"],
        "gvisor": ["runsc"],
        "go": ["golang-go", "golang-src"],
        "mmdebstrap": ["mmdebstrap", "debian-archive-keyring"],
    }
    common = {"venv": ["python3-venv"], "erofs": ["erofs-utils"]}
    table = {**common, **(debian if here.distribution == "debian" else ubuntu)}
    names = []
    for component in components:
        for name in table.get(component, [component]):
            if (here.distribution, here.version) == ("debian", "12") and component in debian:
                # Naming the suite takes only this package from it; `-t trixie` would also upgrade libc.
                name += "/bookworm-backports" if component == "gvisor" else "/trixie"
            names.append(name)
    return names
