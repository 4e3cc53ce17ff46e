"""Reach the limits of a run by `POST /run`, in the guest: `python3 -m scripts.host_test.limits`."""

from __future__ import annotations

import sys
import time
import urllib.error
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts import smoke
from scripts.setup import envfile, stack

Answer = dict[str, Any]
TREE = Path("/sys/fs/cgroup")
# Of both engines: docs/systemd.md.
SANDBOXES = ("sandbox-platform/*", "sandbox_platform.slice/*")
LOOK_S = 0.5
# Of the quota; the kernel gives it in periods, and the first look is not at a period's beginning.
TOLERANCE = 1.2
MOST_THREADS = 1000

# gVisor fills the pages itself when it reads a file into them. A program that touches them one by one is slower by far,
# and an emulated one reaches its time limit first.
MEMORY = """\
import mmap
import tempfile

def main():
    size, kept = 4_000_000, []
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(bytes(size))
        while True:
            kept.append(mmap.mmap(-1, size))
            file.seek(0)
            file.readinto(kept[-1])
"""
ENDLESS = "def main():\n    while True:\n        pass\n"
SLEEP = "import time\ndef main():\n    time.sleep(100_000)\n"
FOUR_BUSY = """\
import time
from concurrent.futures import ProcessPoolExecutor

def spin(number):
    end = time.monotonic() + 6
    while time.monotonic() < end:
        pass
    return number

def main():
    with ProcessPoolExecutor(4) as pool:
        return sum(pool.map(spin, range(4)))
"""
THREADS = """\
import time
from concurrent.futures import ThreadPoolExecutor

def main():
    pool = ThreadPoolExecutor(100_000)
    for number in range(100_000):
        try:
            pool.submit(time.sleep, 100_000)
        except RuntimeError as error:
            print(number, error, flush=True)
            raise
"""


@dataclass(frozen=True)
class Case:
    name: str
    code: str
    judge: Callable[[Answer], str]  # what is wrong with the answer, "" if nothing


def ended_by(kind: str, exit_code: int) -> Callable[[Answer], str]:
    wanted = ("resource_limit_exceeded", kind, exit_code)

    def judge(answer: Answer) -> str:
        got = tuple(answer.get(name) for name in ("status", "resource_limit_type", "exit_code"))
        return "" if got == wanted else f"the answer is {got}, not {wanted}"

    return judge


def refused_threads(answer: Answer) -> str:
    """The program is refused a thread, or its threads used up memory or time first."""
    if answer.get("status") == "resource_limit_exceeded":
        return "" if answer.get("resource_limit_type") in ("memory", "time") else f"the answer is {answer}"
    number = str(answer.get("stdout", "")).partition(" ")[0]
    if number.isdigit() and int(number) <= MOST_THREADS:
        return ""
    return f"no thread was refused: {answer}"


def successful(answer: Answer) -> str:
    return "" if answer.get("status") == "success" else f"the answer is {answer}"


CASES = (
    Case("memory", MEMORY, ended_by("memory", -137)),
    Case("endless loop", ENDLESS, ended_by("time", -124)),
    Case("endless sleep", SLEEP, ended_by("time", -124)),
    Case("threads without end", THREADS, refused_threads),
    Case("the next run", "def main():\n    return 1\n", successful),
)


@dataclass(frozen=True)
class Look:
    """What the kernel says of a cgroup at a moment."""

    at_s: float
    used_s: float
    quota: float  # CPUs; 0: none


def look(group: Path) -> Look | None:
    try:
        stat = dict(line.split() for line in (group / "cpu.stat").read_text(encoding="utf-8").splitlines())
        quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
    except (FileNotFoundError, OSError):
        return None  # gone meanwhile
    return Look(
        time.monotonic(),
        int(stat["usage_usec"]) / 1e6,
        0.0 if quota == "max" else int(quota) / int(period),
    )


def over_quota(looks: Iterable[list[Look]]) -> str:
    """Judge the sandbox that used the most CPU time: it has a quota, and used no more."""
    spans = [(series[0], series[-1]) for series in looks if len(series) > 1]
    if not spans:
        return f"no cgroup of a sandbox in {TREE}"
    first, last = max(spans, key=lambda span: span[1].used_s - span[0].used_s)
    used = (last.used_s - first.used_s) / (last.at_s - first.at_s)
    if not last.quota:
        return f"no quota; {used:.2f} CPUs were used"
    if used > last.quota * TOLERANCE:
        return f"{used:.2f} CPUs were used, of a quota of {last.quota:.2f}"
    print(f"    kernel: {used:.2f} CPUs used, quota {last.quota:.2f}", flush=True)
    return ""


def watch(run: Future[Answer], tree: Path = TREE) -> str:
    looks: dict[Path, list[Look]] = {}
    while not run.done():
        for group in [path for pattern in SANDBOXES for path in tree.glob(pattern)]:
            if seen := look(group):
                looks.setdefault(group, []).append(seen)
        time.sleep(LOOK_S)
    return over_quota(looks.values())


def main() -> int:
    settings = envfile.settings()
    url, token = stack.base_url(settings), settings["SANDBOX_EXECUTOR_MANAGER_API_TOKEN"]
    failures = 0

    def post(code: str) -> Answer:
        return smoke.post_run(url, token, "python", code, {})

    def judged(name: str, act: Callable[[], str]) -> None:
        nonlocal failures
        started = time.monotonic()
        try:
            wrong = act()
        except (urllib.error.URLError, OSError) as error:
            wrong = f"no answer: {error}"
        failures += bool(wrong)
        print(f"{'FAILED' if wrong else 'ok'}  {name} ({time.monotonic() - started:.0f} s) {wrong}", flush=True)

    for case in CASES:
        judged(case.name, lambda case=case: case.judge(post(case.code)))  # type: ignore[misc]
    with ThreadPoolExecutor(1) as pool:
        judged("four busy processes on the quota of a run", lambda: watch(pool.submit(post, FOUR_BUSY)))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
