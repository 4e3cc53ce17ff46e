"""Format the figures as a table."""

from collections.abc import Iterator
from typing import Any


def table(result: dict[str, Any]) -> str:
    return "\n".join(_lines(result))


def _lines(result: dict[str, Any]) -> Iterator[str]:
    yield f"{result['cores']} cores, kernel {result['kernel']}, load before {result['load before']}"
    for language, figures in result["languages"].items():
        yield f"\n{language} (load after {figures['load']})"
        floor = figures["floor"]
        churn = ", ".join(f"{rate} at {n}" for n, rate in floor["churn_per_s"].items())
        yield f"  floor: docker run p50 {floor['p50_ms']} ms; containers/s: {churn}"
        columns = f"{'n':>5}{'failed':>8}{'warm':>6}{'p50':>9}{'p95':>9}{'p99':>9}{'runs/s':>9}"
        yield f"  {'':<22}{columns}  phases p50 (ms)"
        for name in ("warm", "warm import pandas", "cold"):
            if name in figures:
                yield _row(name, figures[name])
        for callers, row in figures["sustained"].items():
            yield _row(f"sustained, {callers} callers", row)
        yield _row("burst of 50", figures["burst of 50"])
        yield "  " + "; ".join(f"{name}: {value}" for name, value in figures["ratios"].items())


def _row(name: str, row: dict[str, Any]) -> str:
    phases = " ".join(f"{phase} {ms}" for phase, ms in row["phases_p50_ms"].items())
    figures = "".join(f"{row[key]:>9}" for key in ("p50_ms", "p95_ms", "p99_ms"))
    rate = row.get("runs_per_s", "")
    return f"  {name:<22}{row['n']:>5}{row['failed']:>8}{row['warm']:>6}{figures}{rate:>9}  {phases}"
