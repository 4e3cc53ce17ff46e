"""Debian's registry of images for the tests, in .tools: installed, the package would start a service."""

from __future__ import annotations

import shutil
from pathlib import Path

from scripts.setup import unpacking
from scripts.setup.host import step
from scripts.setup.python_env import TOOLS

PROGRAM = "docker-registry"
FOLDER = TOOLS / "registry"


def program() -> Path | None:
    """Return the program of this machine, or of .tools; None if there is none."""
    found = shutil.which(PROGRAM)
    ours = FOLDER / PROGRAM
    return Path(found) if found else ours if ours.is_file() else None


def ensure() -> None:
    with step("registry for the tests") as current:
        if found := program():
            current.note(f"found {found}")
            return
        unpacking.unpack(PROGRAM, FOLDER, (PROGRAM,))
        current.note("unpacked from the machine's package sources into .tools")
