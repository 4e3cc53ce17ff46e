"""Measure the running Compose stack, or another one: `make bench`, `make bench ARGS=--quick`."""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from bench import floor, stack
from bench.client import IMPORT_PANDAS, TRIVIAL, Caller, load, percentile, summary
from bench.pool import Pool
from bench.report import table

WARM_POOL = 4
# Number of callers -> number of parallel containers for the churn that is measured right before. A virtual machine's
# speed changes within minutes, so compared figures are measured side by side.
ROUNDS = {1: 2, 4: 4, 8: 8, 16: 6}
# Enough callers to saturate two cores; only these rounds are compared.
SATURATING = (4, 8, 16)


def say(text: str) -> None:
    """Print progress to stderr; stdout is only for the table, which comes minutes later."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def warm(pool: Pool, caller: Caller, language: str, code: str, runs: int) -> dict[str, Any]:
    """Send one request at a time, each to a full and idle pool: the latency of a single caller."""
    say(f"{language}: {runs} warm runs")
    samples = []
    with pool.size(language, WARM_POOL, WARM_POOL):
        for _ in range(runs):
            pool.settle(language, WARM_POOL)
            samples.append(caller.run(language, code))
    return summary(samples)


def cold(pool: Pool, caller: Caller, language: str, runs: int) -> dict[str, Any]:
    say(f"{language}: {runs} cold runs")
    samples = []
    with pool.size(language, 0, 0):
        for _ in range(runs):
            pool.settle(language, 0)
            samples.append(caller.run(language, TRIVIAL[language]))
    return summary(samples)


def sustained(pool: Pool, caller: Caller, language: str, callers: int, seconds: float) -> dict[str, Any]:
    say(f"{language}: {callers} callers for {seconds:.0f} s")
    with pool.size(language, 1, WARM_POOL):
        pool.settle(language, 1)
        samples, rate = caller.sustained(language, callers=callers, seconds=seconds)
    return summary(samples) | {"runs_per_s": round(rate, 2)}


def measure(pool: Pool, caller: Caller, language: str, runs: int, seconds: float) -> dict[str, Any]:
    say(f"{language}: the floor, docker run")
    image = pool.images()[language]
    with pool.size(language, 0, 0):
        pool.settle(language, 0)
        floor_ms = floor.latency(language, image, runs)
    churn: dict[int, float] = {}
    result: dict[str, Any] = {
        "floor": {"p50_ms": round(percentile(floor_ms, 50), 1), "churn_per_s": churn},
        "warm": warm(pool, caller, language, TRIVIAL[language], runs),
        "cold": cold(pool, caller, language, runs),
        "sustained": {},
    }
    for callers, parallel in ROUNDS.items():
        with pool.size(language, 0, 0):
            pool.settle(language, 0)
            churn[parallel] = round(floor.churn(language, image, parallel=parallel, runs=runs * 2), 2)
        result["sustained"][callers] = sustained(pool, caller, language, callers, seconds)
    if language == "python":
        result["warm import pandas"] = warm(pool, caller, language, IMPORT_PANDAS, runs)
    say(f"{language}: a burst of 50")
    burst = summary(caller.burst(language, 50))
    rates = sum(result["sustained"][callers]["runs_per_s"] for callers in SATURATING)
    floors = sum(churn[ROUNDS[callers]] for callers in SATURATING)
    ratios = {
        "warm p50 / floor p50": result["warm"]["p50_ms"] / result["floor"]["p50_ms"],
        "warm p95 / warm p50": result["warm"]["p95_ms"] / result["warm"]["p50_ms"],
        "sustained / floor churn": rates / floors,
    }
    rounded = {name: round(value, 2) for name, value in ratios.items()}
    return result | {"burst of 50": burst, "ratios": rounded, "load": load()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="address of another stack; needs --token and --database-url")
    parser.add_argument("--token")
    parser.add_argument("--database-url")
    parser.add_argument("--quick", action="store_true", help="fewer runs: a rough look, not a measurement")
    parser.add_argument("--json", type=Path, help="write the figures to this file instead of stdout")
    options = parser.parse_args()
    runs, seconds = (6, 8.0) if options.quick else (25, 25.0)
    pool = Pool(options.database_url or stack.database_url())
    caller = Caller(options.url or stack.url(), options.token or stack.token())
    say(f"load before: {load()}")
    result = {
        "when": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load before": load(),
        "languages": {name: measure(pool, caller, name, runs, seconds) for name in TRIVIAL},
    }
    print(table(result))
    text = json.dumps(result, indent=1)
    if options.json:
        options.json.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
