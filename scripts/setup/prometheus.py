"""Debian's Prometheus and promtool for the tests, in .tools: installed, the package would start a service."""

from __future__ import annotations

import shutil
from pathlib import Path

from scripts.setup import unpacking
from scripts.setup.host import step
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
                unpacking.unpack(name, FOLDER, PROGRAMS)
        current.note("unpacked from the machine's package sources into .tools")
