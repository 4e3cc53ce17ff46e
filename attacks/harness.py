"""Runs cases one after the other, while another client and the health check are timed, and has them judged."""

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from attacks import judges
from attacks.client import Client
from attacks.corpus import ACCEPTED, Case
from attacks.host import Host

HEALTH_EVERY_S = 0.25
OTHER_EVERY_S = 3.0
HEALTH_WITHIN_S = 3.0  # a few tries: others use the machine, too
ANSWER_WITHIN_S = 60.0
# A neighbour is there once its program has had this long to begin.
SETTLES_S = 1.2
# What cases are told of a host that is elsewhere: addresses of documentation, which nobody has.
ELSEWHERE = {
    "CANARY": "/var/tmp/attack-canary/canary", "CANARY_DIR": "/var/tmp/attack-canary", "ABSTRACT": "attack",  # noqa: S108
    "UNIX": "/var/tmp/attack-canary/socket", "HOST": "192.0.2.1", "BRIDGE": "172.17.0.1", "WEB": "9385",  # noqa: S108
    "TCP": "9", "UDP": "9", "TCP6": "9",
}  # fmt: skip


class Verdict(StrEnum):
    HELD = "held"
    BROKEN = "broken"
    NOT_APPLICABLE = "not applicable"


@dataclass
class Outcome:
    case: Case
    verdict: Verdict
    complaints: list[str] = field(default_factory=list)
    on_host: bool = False  # judges of the host took part
    engine: str = ""
    gvisor: str = ""
    seconds: float = 0.0
    sandboxes: set[str] = field(default_factory=set)


class Beside:
    """Another client and the health check, timed without end in threads of their own."""

    def __init__(self, health: Client, other: Client) -> None:
        """Two clients, because each thread needs connections of its own."""
        self._health = health
        self._other = other
        self._closed = threading.Event()
        self.health: list[tuple[float, float]] = []  # (time.monotonic() at the end, seconds)
        self.others: list[tuple[float, float]] = []

    @contextmanager
    def running(self) -> Iterator["Beside"]:
        loops = (
            threading.Thread(target=self._repeat, args=(work, into, every), daemon=True)
            for work, into, every in (
                (self._health.healthy_after_s, self.health, HEALTH_EVERY_S),
                (self._other.served_after_s, self.others, OTHER_EVERY_S),
            )
        )
        started = list(loops)
        for loop in started:
            loop.start()
        try:
            yield self
        finally:
            self._closed.set()
            for loop in started:
                loop.join()

    def _repeat(self, work: Callable[[], float], into: list[tuple[float, float]], every_s: float) -> None:
        while True:
            took = work()
            into.append((time.monotonic(), took))
            if self._closed.wait(every_s):
                return

    def since(self, began: float, figures: list[tuple[float, float]], below: float, wait_s: float) -> list[float]:
        """Return the figures that ended since. Wait up to `wait_s` for one that is less than `below` seconds."""
        deadline = time.monotonic() + wait_s
        while True:
            found = [took for at, took in figures if at >= began]
            if any(took < below for took in found) or time.monotonic() > deadline:
                return found
            time.sleep(0.05)


class Harness:
    def __init__(
        self, attacker: Callable[[], Client], other: Callable[[], Client], host: Host | None, machine: str
    ) -> None:
        """`machine`: of the platform's host, as `uname -m` names it."""
        self._attacker = attacker()
        self._other = other()
        self._host = host
        self._machine = machine
        self._runtimes = self._attacker.runtimes()
        self.beside = Beside(other(), other())

    def run(self, cases: Iterable[Case], tell: Callable[[Outcome], None]) -> list[Outcome]:
        """Run the cases, then look whether anything is left of their sandboxes."""
        outcomes = []
        with self.beside.running():
            for case in cases:
                outcomes.append(self._one(case))
                tell(outcomes[-1])
        if self._host:
            self._judge_remains(outcomes, self._host)
        return outcomes

    def _judge_remains(self, outcomes: list[Outcome], host: Host) -> None:
        left = host.left_of({name for outcome in outcomes for name in outcome.sandboxes})
        for outcome in outcomes:
            own = [what for what in left if any(name in what for name in outcome.sandboxes)]
            if own:
                outcome.verdict = Verdict.BROKEN
                outcome.complaints += [f"left over: {what}" for what in own]

    def reason_to_skip(self, case: Case) -> str:
        if case.runtime and case.runtime not in self._runtimes:
            return f"the runtime {case.runtime} is not offered"
        if case.needs and case.needs != self._machine:
            return f"it is written for {case.needs}"
        return ""

    def _one(self, case: Case) -> Outcome:
        if reason := self.reason_to_skip(case):
            return Outcome(case, Verdict.NOT_APPLICABLE, [reason])
        began = time.monotonic()
        seen = self._evidence(case)
        wrong = judges.complaints(case, seen)
        sandboxes = {row["sandbox_id"] for row in seen.stored if row.get("sandbox_id")}
        return Outcome(
            case,
            Verdict.BROKEN if wrong else Verdict.HELD,
            wrong,
            on_host=self._host is not None,
            sandboxes=sandboxes,
            engine=str(seen.execution.get("engine") or ""),
            gvisor=str(seen.execution.get("runsc_version") or ""),
            seconds=time.monotonic() - began,
        )

    def _evidence(self, case: Case) -> judges.Evidence:
        marker = f"m{secrets.token_hex(5)}"
        values = {**(self._host.values() if self._host else ELSEWHERE), "MARKER": marker, "REKRAM": marker[::-1]}
        at, began = time.time(), time.monotonic()
        answer = self._attacker.submit(case.body(values, most=self._runtimes), case.content_type)
        seen = judges.Evidence(marker, at, answer, host=self._host)
        if answer.status in ACCEPTED:
            execution = answer.body["id"]
            if case.together:
                self._attacker.until_running(execution)
                time.sleep(SETTLES_S)
            if case.listens and self._host:
                self._attacker.until_running(execution)
                seen.is_open = self._is_opened(case.listens, self._host)
            look = self._look(case, values) if case.together else None
            seen.stored.append(self._attacker.ended(execution))
            if case.then:
                seen.stored.append(look or self._look(case, values))
            seen.is_listed = self._attacker.is_listed(execution)
            seen.served = self._attacker.artifacts(execution) if seen.execution.get("artifact_count") else []
        seen.health_s = self.beside.since(began, self.beside.health, judges.SLOW_S, HEALTH_WITHIN_S)
        patience_s = ANSWER_WITHIN_S if case.is_greedy else 0
        seen.others_s = self.beside.since(began, self.beside.others, float("inf"), patience_s)
        return seen

    def _look(self, case: Case, values: dict[str, str]) -> dict[str, object]:
        answer = self._other.submit(case.body(values, case.then, "python", self._runtimes))
        if answer.status not in ACCEPTED:
            return {"id": "", "status": f"HTTP {answer.status}", "message": answer.body, "limits": {}}
        return self._other.ended(answer.body["id"])

    def _is_opened(self, port: int, host: Host) -> bool:
        """Look for a second whether the port opens on the host."""
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            if host.is_open(port):
                return True
            time.sleep(0.1)
        return False
