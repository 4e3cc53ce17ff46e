"""Install Debian's Chromium for the browser tests and the screenshots."""

from __future__ import annotations

import shutil

from scripts.setup import apt
from scripts.setup.host import step

# The first has no window, which saves a tenth of the CPU. The packages have the names of the programs.
CHROMIUMS = ("chromium-headless-shell", "chromium")


def find() -> str:
    """Return the path of a Chromium, or ""."""
    return next(filter(None, map(shutil.which, CHROMIUMS)), "")


def ensure() -> None:
    with step("Chromium") as current:
        if path := find():
            current.note(f"found {path}")
            return
        apt.install([next(filter(apt.is_offered, CHROMIUMS), CHROMIUMS[0])])
        current.note("installed from the machine's package sources")
