"""What is tried in the guest, one step after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from scripts.host_test.guest import TRANSPORT_FAILED, Done, Guest
from scripts.setup.host import say

OK, FAILED, NOT_TRIED, INTERRUPTED = "ok", "failed", "not tried", "interrupted"
MINUTE = 60.0
# `degraded` is a system with a failed unit, whose name the report should have.
RUNNING = "systemctl is-system-running --wait || { systemctl --failed --no-legend --plain; false; }"
CGROUP_V2 = (
    'test "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs'
    " && for name in cpu cpuset memory pids; do grep -qw $name /sys/fs/cgroup/cgroup.controllers || exit 1; done"
    " && cat /sys/fs/cgroup/cgroup.controllers"
)
# Nothing starts the stack here but the host itself.
ANSWERS = (
    "for try in $(seq 360); do python3 -m scripts.setup smoke && exit 0; sleep 5; done; "
    "systemctl status docker --no-pager | tail -5; docker ps --all; exit 1"
)


@dataclass(frozen=True)
class Outcome:
    name: str
    title: str
    status: str
    seconds: float = 0.0
    output: str = ""


@dataclass(frozen=True)
class Step:
    name: str
    title: str
    limit_s: float
    act: Callable[[Guest, float], Done]
    needs: tuple[str, ...] = ()


def shell(*commands: str) -> Callable[[Guest, float], Done]:
    return lambda guest, limit_s: guest.run(" && ".join(f"{{ {command}; }}" for command in commands), limit_s)


def boot(guest: Guest, limit_s: float) -> Done:
    end = time.monotonic() + limit_s
    if not guest.boot_id(limit_s):
        return Done(TRANSPORT_FAILED, f"ssh did not answer\n{guest.last_of_console()}")
    return guest.run(RUNNING, end - time.monotonic())


def reboot(guest: Guest, limit_s: float) -> Done:
    """Reboot by systemd and wait until another boot of the kernel answers and has started everything."""
    end = time.monotonic() + limit_s
    before = guest.boot_id(limit_s)
    # Apart from the connection, which the reboot ends.
    guest.run("systemd-run --quiet --on-active=2 systemctl reboot", limit_s)
    while (left := end - time.monotonic()) > 0:
        now = guest.boot_id(left)
        if now and now != before:
            return guest.run(RUNNING, end - time.monotonic())
        time.sleep(1)
    return Done(124, f"no other boot answered\n{guest.last_of_console()}")


STEPS = (
    Step("boot", "boot: `systemctl is-system-running` says `running`", 30 * MINUTE, boot),
    Step(
        "system", "cgroup v2 with the controllers of systemd.md; a clean clone; `make help`", 10 * MINUTE,
        shell(CGROUP_V2, 'test -z "$(git status --porcelain)"', "make help"), ("boot",),
    ),
    Step("make", "`make`", 8 * 60 * MINUTE, shell("make"), ("boot",)),
    Step("doctor", "`make doctor`", 60 * MINUTE, shell("make doctor"), ("make",)),
    Step("smoke", "`make smoke`", 60 * MINUTE, shell("make smoke"), ("make",)),
    Step(
        "limits", "memory, time, CPU and processes by `POST /run`", 60 * MINUTE,
        shell("python3 -m scripts.host_test.limits"), ("make",),
    ),
    Step("reboot", "`systemctl reboot`: another boot, everything started", 40 * MINUTE, reboot, ("boot",)),
    Step("back", "after the reboot the stack answers by itself", 60 * MINUTE, shell(ANSWERS), ("make", "reboot")),
)  # fmt: skip
NAMES = tuple(step.name for step in STEPS)


def select(names: Iterable[str], load: str = "") -> list[Step]:
    """Return the named steps and those that they need, in order. `load`: what takes in images before `make`."""
    wanted = set(names)
    for step in reversed(STEPS):
        if step.name in wanted:
            wanted |= set(step.needs)
    chosen = [step for step in STEPS if step.name in wanted]
    if load and "make" in wanted:
        before = [step.name for step in chosen].index("make")
        title = "Docker by `make`, and the images that were handed over"
        chosen.insert(before, Step("load", title, 4 * 60 * MINUTE, shell(load), ("boot",)))
    return chosen


def run_all(guest: Guest, chosen: Iterable[Step], factor: float = 1.0) -> Iterator[Outcome]:
    """Run the steps and yield what came of each. A step whose condition failed is not tried.

    KeyboardInterrupt ends the step that is going on, and the list.
    """
    passed: set[str] = set()
    interrupted = False
    for step in chosen:
        if interrupted or not set(step.needs) <= passed:
            yield Outcome(step.name, step.title, NOT_TRIED)
            continue
        say(f"==> {step.name}: {step.title}")
        started = time.monotonic()
        try:
            done = step.act(guest, step.limit_s * factor)
        except KeyboardInterrupt:
            done, interrupted = Done(130, guest.written()), True
        seconds = time.monotonic() - started
        status = INTERRUPTED if interrupted else FAILED if done.status else OK
        if status == OK:
            passed.add(step.name)
        note = f", status {done.status}" if status == FAILED else ""
        say(f"    {status} ({seconds:.0f} s{note})")
        yield Outcome(step.name, step.title, status, seconds, done.output)
