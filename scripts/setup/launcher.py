"""The launcher by which Docker starts gVisor: it runs runsc with a timer slack, so that idle sandboxes wake less."""

from __future__ import annotations

from pathlib import Path

from scripts.setup.host import run, step, write_root_file

LAUNCHER = Path("/usr/local/lib/sandbox-platform/runsc")
# gVisor's systrap platform wakes every 0.4 ms to evaluate its fast path, even while the guest waits: 5 % of a core for
# each idle sandbox. With this slack the kernel coalesces those wake-ups, which halves the cost. In return, a guest's
# sleep may end that much later. Newer releases of gVisor can disable the fast path instead.
TIMER_SLACK_NS = 2_000_000
SCRIPT = """#!/bin/sh
# Written by `make setup`. The slack of timers is inherited by all that runsc starts; see docs/performance.md.
{{ echo {slack} >/proc/self/timerslack_ns; }} 2>/dev/null
exec {runsc} "$@"
"""


def script(runsc: str) -> str:
    return SCRIPT.format(slack=TIMER_SLACK_NS, runsc=runsc)


def launched_path(registered: str | None, runsc: str) -> str:
    """Return the path to register in Docker: the launcher, or the operator's own binary if one is registered."""
    return str(LAUNCHER) if registered in (None, runsc, str(LAUNCHER)) else registered


def ensure_launcher(runsc: str) -> None:
    with step("gVisor's launcher") as current:
        # `cat` fails softly if the file is missing. The file is world-readable, so no root access is needed.
        if run(["cat", LAUNCHER]).stdout == script(runsc):
            current.note("in place")
            return
        write_root_file(LAUNCHER, script(runsc), mode=0o755)
        current.note(str(LAUNCHER))
