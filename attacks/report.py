"""The report: a record of verdicts as JSON, tables for a person, and the sections of docs/reliability.md."""

import json
import os
import platform
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attacks import corpus
from attacks.corpus import FAMILIES
from attacks.harness import Outcome, Verdict

ATTACK, WEAKENED = "make attack", "make attack --weakened"  # sections of the page
COLUMNS = (Verdict.HELD, Verdict.BROKEN, Verdict.NOT_APPLICABLE)
KEPT = ("verdict", "complaints", "on_host", "engine", "gvisor", "seconds")


@dataclass(frozen=True)
class Caught:
    """What the corpus said of a platform without one of its protections. `broken`: the cases that noticed."""

    family: str
    off: str
    tried: int
    broken: list[str]


@dataclass
class Record:
    """The last verdict on each case. `health_s`, `others_s`: latencies of /healthz and of the other client.

    A run in parts (by family, or of what was broken) adds to the record of a file; the report is that of the record.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    health_s: list[float] = field(default_factory=list)
    others_s: list[float] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)  # of the machine, at the begin of each part

    @classmethod
    def read(cls, path: Path) -> "Record":
        """Return the record of a file, or an empty one. What the corpus no longer has is left out."""
        if not path.exists():
            return cls()
        found = json.loads(path.read_text(encoding="utf-8"))
        known = {(case.family, case.name): case for case in corpus.load()}
        outcomes = [
            Outcome(
                known[each["family"], each["name"]], Verdict(each["verdict"]), **{n: each[n] for n in KEPT[1:]}
            )
            for each in found["cases"]
            if (each["family"], each["name"]) in known
        ]
        return cls(outcomes, found["health_s"], found["others_s"], found["loads"])

    def add(self, outcomes: Sequence[Outcome], health_s: Iterable[float], others_s: Iterable[float]) -> None:
        """Replace the verdicts on the cases of a part."""
        again = {(outcome.case.family, outcome.case.name) for outcome in outcomes}
        kept = [outcome for outcome in self.outcomes if (outcome.case.family, outcome.case.name) not in again]
        self.outcomes = [*kept, *outcomes]
        # A failure of the other client is in the verdicts. JSON has no infinity.
        self.health_s += [round(took, 4) for took in health_s if took != float("inf")]
        self.others_s += [round(took, 4) for took in others_s if took != float("inf")]

    def write(self, path: Path) -> None:
        cases = [
            {"family": o.case.family, "name": o.case.name, **{name: getattr(o, name) for name in KEPT}}
            for o in self.outcomes
        ]
        latencies = {"health_s": self.health_s, "others_s": self.others_s}
        text = {
            "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "machine": machine(),
            "loads": self.loads,
            **latencies,
        }
        path.write_text(json.dumps(text | {"cases": cases}, indent=1) + "\n", encoding="utf-8")

    def broken(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.verdict == Verdict.BROKEN]


def machine() -> str:
    memory = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines())
    return (
        f"{os.cpu_count()} cores, {memory >> 20} GiB, {platform.system()} {platform.release()} ({platform.machine()}), "
        f"cgroup v{2 if Path('/sys/fs/cgroup/cgroup.controllers').exists() else 1}"
    )


def table(outcomes: Sequence[Outcome]) -> str:
    rows = [
        "| family | tried | held | broken | not applicable | judged by the API alone |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for family in (*(f for f in FAMILIES if any(o.case.family == f for o in outcomes)), "all"):
        own = [outcome for outcome in outcomes if family in ("all", outcome.case.family)]
        count = Counter(outcome.verdict for outcome in own)
        tried = len(own) - count[Verdict.NOT_APPLICABLE]
        by_api = sum(o.case.judged_by_api for o in own if o.verdict != Verdict.NOT_APPLICABLE)
        rows.append(f"| {family} | {tried} | {' | '.join(str(count[each]) for each in COLUMNS)} | {by_api} |")
    return "\n".join(rows)


def percentile(values: Sequence[float], percent: float) -> str:
    ordered = sorted(values)
    return (
        f"{1000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]:,.0f} ms" if ordered else "-"
    )


def section(record: Record) -> str:
    """Return the text of the record for docs/reliability.md."""
    ran = [outcome for outcome in record.outcomes if outcome.verdict != Verdict.NOT_APPLICABLE]
    on_host = all(outcome.on_host for outcome in ran)
    where = "on the platform's host" if on_host else "over the API alone: the host was not looked at"
    skipped = Counter(o.complaints[0] for o in record.outcomes if o.verdict == Verdict.NOT_APPLICABLE)
    loads = ", ".join(f"{load:.0f}" for load in record.loads)
    lines = [
        f"{time.strftime('%Y-%m-%d')}, {machine()}; {_versions(ran)}; judged {where}; "
        f"{sum(outcome.seconds for outcome in ran) / 60:.0f} minutes, load of the machine before: {loads}.",
        "",
        table(record.outcomes),
        "",
        f"Meanwhile /healthz took {percentile(record.health_s, 50)} (p50) and {percentile(record.health_s, 99)} (p99), "
        f"a small program of another client {percentile(record.others_s, 50)} (p50) and "
        f"{percentile(record.others_s, 95)} (p95), in {len(record.others_s):,} runs.",
    ]
    if skipped:
        lines += ["", "Not applicable: " + "; ".join(f"{n} cases, {why}" for why, n in skipped.items()) + "."]
    if record.broken():
        lines.append("")
    lines += [f"- **broken**: {o.case.family}, {o.case.name}: {o.complaints[0]}" for o in record.broken()]
    return "\n".join(lines)


def _versions(outcomes: Sequence[Outcome]) -> str:
    found = sorted({(o.engine, o.gvisor) for o in outcomes if o.engine})
    return ", ".join(f"engine {engine}, gVisor {gvisor}" for engine, gvisor in found)


def weakened_section(caught: Sequence[Caught]) -> str:
    rows = ["| family | protection switched off | cases tried | cases that noticed |", "|---|---|--:|--:|"]
    return "\n".join(rows + [f"| {it.family} | {it.off} | {it.tried} | {len(it.broken)} |" for it in caught])


def write(path: Path, sections: Mapping[str, str]) -> None:
    """Put each section between its markers in the page. Raises ValueError if they are missing."""
    page = path.read_text(encoding="utf-8")
    for name, text in sections.items():
        begin, end = markers(name)
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            raise ValueError(f"{path} lacks the lines {begin} and {end}")
        page = f"{before}{begin}\n{text}\n{end}{after}"
    path.write_text(page, encoding="utf-8")


def markers(name: str) -> tuple[str, str]:
    # Two hyphens may not be in a comment.
    name = name.replace("--", "")
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
