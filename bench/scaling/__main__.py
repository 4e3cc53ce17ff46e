"""Measure how far the queue goes: `python -m bench.scaling --seconds 30 --write`.

Needs no Docker and no image: sandboxes answer at once (noop.py), so what is left is the platform and its Postgres,
which is started anew, durable as in the stack. It doubles the workers of one node until the rate stops growing, and
then the nodes; first with tasks that do nothing, then with whole runs, then with requests through the web service. For
each shape it prints what a run costs: CPU of each part, transactions, WAL, and which of them was the bound. Other work
on the machine is measured, too, and named where it takes more than a tenth: such a row says little.
"""

import argparse
import math
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.embedded import django_on_embedded_postgres
from bench.history import say
from bench.scaling import page
from bench.scaling.observing import Figures

GROWTH = 1.1
MOST_WORKERS, MOST_NODES = 64, 4
# The first measurement of a kind knows no rate. Runs a second of one worker, roughly.
GUESS = {"tasks": 200.0, "runs": 15.0}
FEWEST = 60
SUBMITTED = 300
Measure = Callable[[int, int, int], Figures]


def growing(
    measure: Measure, seconds: float, guess: float, rows: list[Figures], until: float = math.inf
) -> Figures:
    """Double the workers, then the nodes, until the rate grows by less than GROWTH. Return the best.

    `until`: by time.monotonic(); nothing further is begun then.
    """
    best = _next(measure, 1, 1, max(FEWEST, int(guess * seconds)), rows)
    for more_nodes, more_workers in ((1, 2), (2, 1)):
        while True:
            nodes, workers = more_nodes * best.nodes, more_workers * best.workers
            if nodes > MOST_NODES or workers > MOST_WORKERS:
                break
            if time.monotonic() > until:
                say("the time is over: the best shape may be a larger one")
                break
            found = _next(measure, nodes, workers, max(FEWEST, int(2 * best.rate * seconds)), rows)
            if found.rate < GROWTH * best.rate:
                break
            best = found
    return best


def _next(measure: Measure, nodes: int, workers: int, runs: int, rows: list[Figures]) -> Figures:
    say(f"{nodes} nodes of {workers} workers, {runs} runs")
    rows.append(found := measure(nodes, workers, runs))
    say(f"{found.kind}: {found.rate:.1f}/s, {found.bound}")
    return found


def measured(seconds: float, kinds: set[str], until: float) -> tuple[list[Figures], dict[str, float]]:
    from bench.scaling import platform as bare

    bare.prepare()
    before = bare.sizes()
    rows: list[Figures] = []
    shape = (1, 8)
    sizes: dict[str, float] = {}
    if "tasks" in kinds:
        growing(bare.drained_tasks, seconds, GUESS["tasks"], rows, until)
    if "runs" in kinds:
        rows.append(bare.submitted(SUBMITTED))
        best = growing(bare.drained_runs, seconds, GUESS["runs"], rows, until)
        shape = best.nodes, best.workers
        sizes = bare.stored_bytes(before)
    if "http" in kinds:
        say(f"requests, {shape[0]} nodes of {shape[1]} workers")
        rows.append(bare.over_http(*shape, seconds))
    return rows, sizes


def machine() -> str:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / page.GIB
    return (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"
        f" {platform.release()}, Postgres, platform and callers on one machine; load before {os.getloadavg()[0]:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30, help="for each shape, roughly")
    parser.add_argument("--minutes", type=float, default=30, help="begin no further shape after so long")
    parser.add_argument("--only", nargs="*", default=["tasks", "runs", "http"], choices=["tasks", "runs", "http"])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as well")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/scaling.md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by default nothing would be stopped and removed
    where = machine()
    with django_on_embedded_postgres():
        rows, sizes = measured(options.seconds, set(options.only), time.monotonic() + 60 * options.minutes)
    where += f", after {os.getloadavg()[0]:.1f}"
    texts = page.report(where, rows, sizes)
    print("\n\n".join(texts))
    if options.json:
        options.json.write_text(page.as_json(where, rows, sizes) + "\n", encoding="utf-8")
    if options.write:
        page.write(texts)


if __name__ == "__main__":
    main()
