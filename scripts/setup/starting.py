"""Start the services and wait for them: on a slow machine as long as something goes on, with a word on what it is."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterable
from tempfile import TemporaryFile

from scripts.setup.compose import compose
from scripts.setup.host import ROOT, Command, SetupError, detail, record, run, tail

# Without a change in any service. A container starts in a second, and in a minute where the machine is emulated.
STILL_S = 300.0
# At most this much of the time between two looks counts: a busy emulated machine has answered after six minutes, in
# which services may have got further and nobody saw it. A daemon that hangs is given up after half an hour.
COUNTED_S = 100.0
TOLD_EVERY_S = 30.0
LOOK_S = 1.0
KILL_S = 30.0
RUNNING = "running"
FIX = "make logs to see what they do; make start waits for them again, and loses nothing"

Services = dict[str, dict[str, str]]


def services(timeout_s: float = STILL_S) -> Services:
    """Return `docker compose ps` of every service of the stack, by name, with State and Health.

    Nothing if Docker does not answer. An emulated machine that starts the stack takes more than a minute to answer.
    """
    lines = run(compose("ps", "--all", "--format", "json"), timeout=timeout_s).stdout.splitlines()
    return {entry["Service"]: entry for entry in map(json.loads, lines)}


def not_ready(wanted: Iterable[str], found: Services) -> list[str]:
    return [
        name
        for name in wanted
        if found.get(name, {}).get("State") != RUNNING or found[name].get("Health") not in {"", "healthy"}
    ]


class Progress:
    """Tells whether a start goes on: a service got further than ever, or the migrations run."""

    def __init__(self, still_s: float) -> None:
        self._still_s = still_s
        self._began = self._counted = self._told = self._looked = time.monotonic()
        self._stood_s = 0.0
        # What each service has reached. A service that ends and starts again gets no further.
        self._reached: set[tuple[str, str, str]] = set()

    @property
    def waited_s(self) -> float:
        return time.monotonic() - self._began

    def goes_on(self, found: Services) -> bool:
        reached = {(name, one.get("State", ""), one.get("Health", "")) for name, one in found.items()}
        migrates = found.get("migrate", {}).get("State") == RUNNING
        now = time.monotonic()
        self._stood_s += min(now - self._counted, COUNTED_S)
        self._counted = now
        if migrates or reached - self._reached:
            self._stood_s = 0.0
        self._reached |= reached
        if time.monotonic() - self._told >= TOLD_EVERY_S:
            self._told = time.monotonic()
            detail(f"{self.waited_s:.0f} s: {'migrating the database' if migrates else describe(found)}")
        return self._stood_s < self._still_s

    def pause(self) -> None:
        """Wait before the next look. Where looking takes seconds, it must not slow down what it looks at."""
        took = time.monotonic() - self._looked
        time.sleep(max(LOOK_S, took))
        self._looked = time.monotonic()


def describe(found: Services) -> str:
    said = [f"{name} {one.get('Health') or one.get('State')}" for name, one in sorted(found.items())]
    return ", ".join(said) or "no container yet, or Docker does not answer"


def up(command: Command, *, still_s: float = STILL_S) -> None:
    """Run `docker compose up` to its end, which comes after the migrations. Raises SetupError."""
    words = [str(word) for word in command]
    with TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT
        )
        progress = Progress(still_s)
        while process.poll() is None:
            if not progress.goes_on(found := services(still_s)):
                _end(process, root=words[0] == "sudo")
                raise SetupError("docker compose up", f"not done {still(progress, describe(found), still_s)}", FIX)
            progress.pause()
        output.seek(0)
        done = subprocess.CompletedProcess(words, process.returncode, output.read(), "")
    record(done)
    if done.returncode != 0:
        errors = [line for line in done.stdout.splitlines() if not line.startswith(" Container ")]
        if any("migrate" in line for line in errors):
            errors.append(tail(run(compose("logs", "--no-color", "--no-log-prefix", "--tail=25", "migrate"))))
        raise SetupError("docker compose up", "\n".join(errors), "make logs, then make start")


def _end(process: subprocess.Popen[bytes], *, root: bool) -> None:
    """End it, but do not wait for ever for one that the kernel or a hung daemon holds."""
    for signal in ("TERM", "KILL"):
        run(["sh", "-c", f"kill -s {signal} {process.pid}"], root=root)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(KILL_S)
            return


def still(progress: Progress, what: str, still_s: float) -> str:
    return f"after {progress.waited_s:.0f} s, and none of them got further in the last {still_s:.0f} s: {what}"


def wait_healthy(
    wanted: tuple[str, ...], look: Callable[[], Services] = services, *, still_s: float = STILL_S
) -> None:
    """Wait until all these services are healthy. Raises SetupError when none gets further."""
    progress = Progress(still_s)
    while unready := not_ready(wanted, found := look()):
        if not progress.goes_on(found):
            states = {name: found.get(name, {}) for name in unready}
            logs = run(compose("logs", "--no-color", "--tail=25", *unready), timeout=still_s)
            ended = [name for name, one in states.items() if one.get("State") != RUNNING]
            fix = f"make logs SERVICE={ended[0]}, correct the cause, then make start" if ended else FIX
            what = f"{', '.join(unready)} not healthy {still(progress, describe(states), still_s)}"
            raise SetupError("services healthy", f"{what}\n{tail(logs)}", fix)
        progress.pause()
