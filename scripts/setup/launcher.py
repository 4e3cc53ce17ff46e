"""The file that Docker starts gVisor by: runsc itself, woken less often while a sandbox idles."""

from __future__ import annotations

from pathlib import Path

from scripts.setup.host import run, step, write_root_file

LAUNCHER = Path("/usr/local/lib/sandbox-platform/runsc")
# gVisor's systrap platform wakes every 0.4 ms to judge its fast path, also while the guest waits: 5 % of a core
# for each idle sandbox. With this slack the kernel puts those wake-ups together, which halves that. The price: a
# guest's sleep may end so much later. Newer releases of gVisor can switch the fast path off instead.
TIMER_SLACK_NS = 2_000_000
SCRIPT = """#!/bin/sh
# Written by `make setup`. The slack of timers is inherited by all that runsc starts; see docs/performance.md.
{{ echo {slack} >/proc/self/timerslack_ns; }} 2>/dev/null
exec {runsc} "$@"
"""


def script(runsc: str) -> str:
    return SCRIPT.format(slack=TIMER_SLACK_NS, runsc=runsc)


def launched_path(registered: str | None, runsc: str) -> str:
    """What Docker shall start: an operator's own binary, registered by its own path, stays."""
    return str(LAUNCHER) if registered in (None, runsc, str(LAUNCHER)) else registered


def ensure_launcher(runsc: str) -> None:
    with step("gVisor's launcher") as current:
        # Read through a command's eyes: without root rights the file is still anybody's to read.
        if run(["cat", LAUNCHER]).stdout == script(runsc):
            current.note("in place")
            return
        write_root_file(LAUNCHER, script(runsc), mode=0o755)
        current.note(str(LAUNCHER))
