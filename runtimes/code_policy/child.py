"""Checks a large program in a process of its own, whose memory and time are bounded.

A syntax tree takes up to 450 times the memory of its text: `x=1` on each line. Small programs are checked in process,
where starting an interpreter would take longer than the check.

This module is also the program of that process. It imports nothing beyond this package, to start fast.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Collection
from pathlib import Path

from .rules import MAX_VIOLATIONS, Violation

TIME_S = 15
# One process at a time, and few requests that wait for it: each of them occupies a thread.
QUEUE = 8
START = "import sys; sys.path.insert(0, sys.argv[1]); from runtimes.code_policy.child import main; main()"
ROOT = Path(__file__).resolve().parent.parent.parent
TOO_MUCH = "limits"  # no rule: it cannot be disabled

_turn = threading.Lock()
_queue = threading.BoundedSemaphore(QUEUE)


class Busy(Exception):
    """Too many large programs are being checked. Retrying later can succeed."""


def find(code: str, enabled: Collection[str], memory_bytes: int) -> list[Violation]:
    """Return the violations; a single one if the check exceeds its memory or time. Raises Busy."""
    if not _queue.acquire(blocking=False):
        raise Busy
    try:
        with _turn:
            return _find(code, enabled, memory_bytes)
    finally:
        _queue.release()


def _find(code: str, enabled: Collection[str], memory_bytes: int) -> list[Violation]:
    work = json.dumps([code, sorted(enabled), memory_bytes]).encode()
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", START, str(ROOT)],
            input=work, capture_output=True, timeout=TIME_S, check=True, env={},
        )  # fmt: skip
        return [Violation(*each) for each in json.loads(done.stdout)]
    except (subprocess.SubprocessError, ValueError):
        # Not in the process that checks, which starts faster without it.
        from sandbox_platform.kit.units import exact

        text = (
            f"The program is too large to be checked with {exact(memory_bytes, 'bytes')} of memory in {TIME_S} s"
        )
        return [Violation(TOO_MUCH, -1, f"{text} (SANDBOX_POLICY_MEMORY).")]


def peak_bytes() -> int:
    """Return this program's peak memory. By getrusage it would be the larger one of that and its starter's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def main() -> None:
    import resource
    from itertools import islice

    from . import python

    code, enabled, memory_bytes = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    found = list(islice(python.find(code, {*enabled, python.SYNTAX}), MAX_VIOLATIONS))
    # Deep nesting is a MemoryError as well, but takes little.
    if peak_bytes() > memory_bytes // 2 and [each.message for each in found] == [python.NO_MEMORY]:
        sys.exit(1)
    json.dump([[each.rule, each.line, each.message] for each in found if each.rule in enabled], sys.stdout)
