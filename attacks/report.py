"""The report: tables for a person, JSON for a program, and the section of docs/reliability.md."""

import os
import platform
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from attacks.corpus import FAMILIES
from attacks.harness import Outcome, Verdict

BEGIN, END = "<!-- make attack: begin -->", "<!-- make attack: end -->"
COLUMNS = (Verdict.HELD, Verdict.BROKEN, Verdict.NOT_APPLICABLE)


@dataclass(frozen=True)
class Caught:
    """What the corpus said of a platform without one of its protections."""

    family: str
    off: str
    tried: int
    broken: list[str]  # cases that noticed


@dataclass(frozen=True)
class Run:
    """One run of the corpus. `latencies`: of /healthz and of the other client, in seconds, sorted."""

    outcomes: Sequence[Outcome]
    engine: str
    gvisor: str
    on_host: bool
    seconds: float
    health_s: Sequence[float] = ()
    others_s: Sequence[float] = ()


def machine() -> str:
    memory = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines())
    return (
        f"{os.cpu_count()} cores, {memory >> 20} GiB, {platform.system()} {platform.release()} ({platform.machine()}), "
        f"cgroup v{2 if Path('/sys/fs/cgroup/cgroup.controllers').exists() else 1}"
    )


def table(outcomes: Iterable[Outcome]) -> str:
    rows = [
        "| family | tried | held | broken | not applicable | judged by the API alone |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    listed = list(outcomes)
    for family in (*(f for f in FAMILIES if any(o.case.family == f for o in listed)), "all"):
        own = [outcome for outcome in listed if family in ("all", outcome.case.family)]
        count = Counter(outcome.verdict for outcome in own)
        tried = len(own) - count[Verdict.NOT_APPLICABLE]
        by_api = sum(o.case.judged_by_api for o in own if o.verdict != Verdict.NOT_APPLICABLE)
        rows.append(f"| {family} | {tried} | {' | '.join(str(count[each]) for each in COLUMNS)} | {by_api} |")
    return "\n".join(rows)


def percentile(values: Sequence[float], percent: float) -> str:
    ordered = sorted(values)
    return f"{1000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]:.0f} ms" if ordered else "-"


def section(run: Run, caught: Sequence[Caught]) -> str:
    """Return the text between the markers of docs/reliability.md."""
    where = "on the platform's host" if run.on_host else "over the API alone: the host was not looked at"
    skipped = Counter(o.complaints[0] for o in run.outcomes if o.verdict == Verdict.NOT_APPLICABLE)
    lines = [
        f"{time.strftime('%Y-%m-%d')}, {machine()}; engine {run.engine}, gVisor {run.gvisor}; judged {where}; "
        f"{run.seconds / 60:.0f} minutes.",
        "",
        table(run.outcomes),
        "",
        f"Meanwhile /healthz took {percentile(run.health_s, 50)} (p50) and {percentile(run.health_s, 99)} (p99), a "
        f"small program of another client {percentile(run.others_s, 50)} (p50) and {percentile(run.others_s, 95)} "
        f"(p95), in {len(run.others_s):,} runs.",
    ]
    if skipped:
        lines += ["", "Not applicable: " + "; ".join(f"{n} cases, {why}" for why, n in skipped.items()) + "."]
    lines += [f"- **broken**: {o.case.family}, {o.case.name}: {o.complaints[0]}" for o in broken(run.outcomes)]
    if caught:
        lines += [
            "",
            "| family | protection switched off | cases tried | cases that noticed |",
            "|---|---|--:|--:|",
        ]
        lines += [f"| {it.family} | {it.off} | {it.tried} | {len(it.broken)} |" for it in caught]
    return "\n".join(lines)


def broken(outcomes: Iterable[Outcome]) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.verdict == Verdict.BROKEN]


def write(path: Path, text: str) -> None:
    """Put the text between the markers of the page. Raises ValueError if they are missing."""
    page = path.read_text(encoding="utf-8")
    before, found, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"{path} lacks the lines {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def as_json(run: Run, caught: Sequence[Caught]) -> dict[str, object]:
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": machine(),
        "engine": run.engine,
        "gvisor": run.gvisor,
        "on_host": run.on_host,
        "cases": [
            {"family": o.case.family, "name": o.case.name, "verdict": o.verdict.value, "complaints": o.complaints}
            for o in run.outcomes
        ],
        "weakened": [vars(it) for it in caught],
    }
