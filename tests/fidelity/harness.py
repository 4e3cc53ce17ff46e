"""Runs cases on both sides and compares."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby

from sandboxes.engine import Engine
from tests.fidelity import deviations, plain, through
from tests.fidelity.cases import Case
from tests.fidelity.outcome import Outcome, differences, disappointments

PREFIX = "sandbox-platform/runtime-"
SANDBOXES = 2  # at a time
PLATFORM, GVISOR, SUITE = "platform", "gvisor", "suite"  # kinds of deviations
LINUX = "runc"  # Docker's registration of the host's own kernel


@dataclass(frozen=True)
class Verdict:
    """What came of one case in one way, or of the plain run on Linux (way `runc`)."""

    kind: str
    case: Case
    way: str
    differs: dict[str, str] = field(default_factory=dict)  # by aspect, text to read
    is_listed: bool = False

    @property
    def failed(self) -> bool:
        return bool(self.differs) and not self.is_listed

    def __str__(self) -> str:
        parts = [f"{self.case.id} ({self.way})", *(f"  {name}: {text}" for name, text in self.differs.items())]
        return "\n".join(parts).replace("\n", "\n    ")


class Harness:
    def __init__(self, engine: Engine, prefix: str = PREFIX, rows: Sequence[deviations.Deviation] = ()) -> None:
        self.engine = engine
        self.prefix = prefix
        self.rows = rows

    def image(self, runtime: str) -> str:
        return f"{self.prefix}{runtime}:latest"

    def plainly(self, cases: Sequence[Case], docker_runtime: str = "") -> dict[str, Outcome]:
        """Run cases of one runtime in one container, those of mode function left out."""
        scripts = [case for case in cases if case.call is None]
        if not scripts:
            return {}
        return plain.run_all(self.engine, self.image(cases[0].runtime), scripts, docker_runtime=docker_runtime)

    def platform(self, case: Case, way: str, reference: Outcome | None) -> Verdict:
        outcome = through.run(self.engine, self.image(case.runtime), case, way)
        found = differences(reference, outcome, case.compare, case.normalise) if reference else {}
        unexpected = disappointments(outcome, case.expect, case.normalise)
        if outcome.cold is not None and outcome.cold != (case.cold or way == "cold"):
            unexpected.append(f"the interpreter was {'' if outcome.cold else 'not '}started for the job")
        if unexpected:
            found["expected"] = "\n".join(unexpected)
        return self.verdict(PLATFORM, case, way, found)

    def linux(self, case: Case, on_gvisor: Outcome, on_linux: Outcome) -> Verdict:
        """Compare the two plain runs: what differs is gVisor's."""
        found = differences(on_linux, on_gvisor, case.compare, case.normalise)
        if unexpected := disappointments(on_linux, _of_plain_runs(case), case.normalise):
            found["expected"] = "\n".join(unexpected)
        return self.verdict(GVISOR, case, LINUX, found)

    def verdict(self, kind: str, case: Case, way: str, found: dict[str, str]) -> Verdict:
        return Verdict(kind, case, way, found, deviations.listed(self.rows, kind, case.id, way, found))

    def run(self, cases: Sequence[Case], say: Callable[[str], None]) -> Iterator[Verdict]:
        for runtime, group in groupby(cases, key=lambda case: case.runtime):
            yield from self.run_runtime(runtime, list(group), say)

    def run_runtime(self, runtime: str, cases: list[Case], say: Callable[[str], None]) -> Iterator[Verdict]:
        say(f"{runtime}: {len(cases)} cases")
        on_gvisor, on_linux = self.plainly(cases), self.plainly(cases, LINUX)
        for case in cases:
            if case.name in on_linux:
                yield self.linux(case, on_gvisor[case.name], on_linux[case.name])
        jobs = [(case, way) for case in cases for way in case.ways]
        with ThreadPoolExecutor(SANDBOXES) as pool:
            yield from pool.map(lambda job: self.platform(*job, on_gvisor.get(job[0].name)), jobs)


def _of_plain_runs(case: Case) -> dict[str, object]:
    return {name: value for name, value in case.expect.items() if name not in ("result", "frames")}


def vanished(rows: Iterable[deviations.Deviation], verdicts: Sequence[Verdict]) -> list[deviations.Deviation]:
    """Return the listed deviations whose cases were run and agreed."""
    run = {(v.kind, v.case.id) for v in verdicts}
    deviating = {(v.kind, v.case.id, name) for v in verdicts for name in v.differs}
    return [
        row
        for row in rows
        if (row.kind, row.id) in run and any((row.kind, row.id, name) not in deviating for name in row.differs)
    ]
