"""The table of a measurement, the arithmetic from it, and their place in docs/scaling.md."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.processes import ROOT
from bench.scaling.observing import Figures

PAGE = ROOT / "docs/scaling.md"
SECTIONS = ("bench.scaling", "bench.scaling arithmetic")
# CPU of a run with its sandbox, of the direct engine: 7.30 runs a second on two cores (docs/performance.md, Engines).
SANDBOX_MS = 2 * 1000 / 7.3
RATES = (10, 1_000, 100_000)  # runs a minute
MIB, GIB = 1 << 20, 1 << 30
DAY_S = 86_400
BLANK = "not measured"
PARTS = ("web", "worker", "pusher", "keeper", "Postgres")


def table(rows: Sequence[Figures]) -> str:
    head = ["what", "nodes × workers", "runs", "a second"]
    head += [f"{part}, CPU ms" for part in PARTS]
    head += ["transactions", "WAL, bytes", "machine busy", "load", "bounded by"]
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 2) + "---|"]
    return "\n".join([*lines, *(f"| {' | '.join(_cells(row))} |" for row in rows)])


def _cells(row: Figures) -> list[str]:
    shape = f"{row.nodes} × {row.workers}" if row.nodes else "–"
    cpu = [f"{row.cpu_ms[part]:.1f}" if part in row.cpu_ms else "–" for part in PARTS]
    counts = [f"{row.transactions:.1f}", f"{row.wal:,.0f}", f"{row.busy:.0%}", f"{row.load:.1f}"]
    return [KINDS[row.kind], shape, f"{row.runs:,}", f"{row.rate:.1f}", *cpu, *counts, row.bound]


KINDS = {
    "tasks": "tasks that do nothing",
    "runs": "queued runs",
    "submit": "queueing runs, one process",
    "http": "requests that wait for their run",
}


def connections(rows: Iterable[Figures]) -> str:
    """Return how many sessions each service had, of the largest shapes."""
    lines = ["| nodes × workers | sessions of Postgres |", "|---|---|"]
    for row in rows:
        if row.connections and row.nodes:
            sessions = ", ".join(f"{name} {number:.0f}" for name, number in sorted(row.connections.items()))
            lines.append(f"| {row.nodes} × {row.workers} ({KINDS[row.kind]}) | {sessions} |")
    return "\n".join(lines)


def best(rows: Iterable[Figures], kind: str) -> Figures | None:
    return max((row for row in rows if row.kind == kind), key=lambda row: row.rate, default=None)


def arithmetic(rows: Sequence[Figures], sizes: dict[str, float]) -> str:
    """Return what each rate needs, by the best shapes that were measured. A blank where nothing was."""
    runs, http = best(rows, "runs"), best(rows, "http")
    cpu = {part: _first(part, http, runs) for part in PARTS}
    a_run = sum(sizes.values())
    head = [f"{rate:,} runs a minute" for rate in RATES]
    lines = [f"| | {' | '.join(head)} |", "|---|" + "--:|" * len(RATES)]
    lines.append(_line("runs a second", [f"{rate / 60:,.1f}" for rate in RATES]))
    sandboxes = [f"{rate / 60 * SANDBOX_MS / 1000:,.1f}" for rate in RATES]
    lines.append(_line("cores of the nodes, sandboxes and platform", sandboxes))
    for part, ms in cpu.items():
        lines.append(_line(f"of them cores for {part}", _per_second(ms and ms / 1000, "{:,.2f}")))
    lines.append(
        _line("transactions of Postgres a second", _per_second(runs.transactions if runs else None, "{:,.0f}"))
    )
    lines.append(_line("WAL, MiB a second", _per_second(runs.wal / MIB if runs else None, "{:,.2f}")))
    lines.append(_line("disk, GiB a day", _per_second(a_run and a_run * DAY_S / GIB, "{:,.1f}")))
    lines.append(_line("of the queue's measured best", _per_second(1 / runs.rate if runs else None, "{:,.2f} ×")))
    return "\n".join(lines)


def _first(part: str, *rows: Figures | None) -> float | None:
    return next((row.cpu_ms[part] for row in rows if row and part in row.cpu_ms), None)


def _per_second(each: float | None, text: str) -> list[str]:
    """Return the cells of a figure of one run a second."""
    return [text.format(each * rate / 60) if each else BLANK for rate in RATES]


def _line(name: str, cells: Iterable[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def size_table(sizes: dict[str, float]) -> str:
    lines = ["| bytes on disk for each execution | |", "|---|--:|"]
    lines += [_line(name, [f"{size:,.0f}"]) for name, size in sizes.items()]
    return "\n".join([*lines, _line("together", [f"{sum(sizes.values()):,.0f}"])])


def report(machine: str, rows: Sequence[Figures], sizes: dict[str, float]) -> tuple[str, str]:
    """Return the texts of the page's SECTIONS."""
    measured = [machine, table(rows), connections(rows), *([size_table(sizes)] if sizes else [])]
    return "\n\n".join(measured), arithmetic(rows, sizes)


def write(texts: Iterable[str], page: Path = PAGE) -> None:
    """Put the texts between the page's markers."""
    content = page.read_text(encoding="utf-8")
    for section, text in zip(SECTIONS, texts, strict=True):
        begin, finish = (f"<!-- {section}: {word} -->\n" for word in ("begin", "end"))
        before, found, rest = content.partition(begin)
        _, closed, after = rest.partition(finish)
        if not (found and closed):
            raise SystemExit(f"{page} has no place for {section}")
        content = f"{before}{begin}{text}\n{finish}{after}"
    page.write_text(content, encoding="utf-8")


def as_json(machine: str, rows: Iterable[Figures], sizes: dict[str, float]) -> str:
    figures: list[dict[str, Any]] = [asdict(row) | {"bound": row.bound} for row in rows]
    return json.dumps({"machine": machine, "figures": figures, "bytes": sizes}, indent=1)
