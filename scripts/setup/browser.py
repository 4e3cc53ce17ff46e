"""Debian's Chromium, for the tests that walk the web UI and for its screenshots."""

from __future__ import annotations

import shutil

from scripts.setup import apt
from scripts.setup.host import step


def ensure() -> None:
    with step("Chromium") as current:
        if path := shutil.which("chromium"):
            current.note(f"{path} is there")
            return
        apt.install(["chromium"])
        current.note("installed from the machine's package sources")
