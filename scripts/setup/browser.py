"""Install Debian's Chromium for the browser tests and the screenshots."""

from __future__ import annotations

import shutil

from scripts.setup import apt
from scripts.setup.host import step


def ensure() -> None:
    with step("Chromium") as current:
        if path := shutil.which("chromium"):
            current.note(f"found {path}")
            return
        apt.install(["chromium"])
        current.note("installed from the machine's package sources")
