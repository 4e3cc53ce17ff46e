"""Debian's Prometheus and promtool for the tests, in .tools: installed, the package would start a service."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from scripts.setup import apt
from scripts.setup.host import must, step
from scripts.setup.python_env import TOOLS

PROGRAMS = ("prometheus", "promtool")
FOLDER = TOOLS / "prometheus"


def program(name: str) -> Path | None:
    """Return the program of this machine, or of .tools; None if there is none."""
    found = shutil.which(name)
    ours = FOLDER / name
    return Path(found) if found else ours if ours.is_file() else None


def ensure() -> None:
    with step("Prometheus for the tests") as current:
        if all(program(name) for name in PROGRAMS):
            current.note(f"found {program('prometheus')}")
            return
        for name in PROGRAMS:
            # Later releases of Debian have a package of its own for promtool.
            if not program(name):
                unpack(name, FOLDER, PROGRAMS)
        current.note("unpacked from the machine's package sources into .tools")


def unpack(package: str, into: Path, programs: Collection[str]) -> None:
    """Unpack the programs of a package into a folder, and run none of its scripts."""
    apt.update()
    fix = f"apt-get download {package}"
    with tempfile.TemporaryDirectory(prefix="sandbox-platform-") as name:
        folder = Path(name)
        must(
            ["apt-get", "download", "-q", package],
            cwd=folder,
            check=f"the package {package}",
            fix=fix,
            timeout=300,
        )
        (archive,) = folder.glob("*.deb")
        must(["dpkg-deb", "--extract", archive, folder / "files"], check=f"the package {package}", fix=fix)
        into.mkdir(parents=True, exist_ok=True)
        for path in (folder / "files/usr/bin").iterdir():
            if path.name in programs:
                shutil.copy2(path, into / path.name)
