"""Measure what the wire formats add to a run: `python -m bench.doors`, with SANDBOX_URL and SANDBOX_TOKEN.

The client of the token needs all formats. Requests of all doors alternate, because a machine's speed changes within
minutes. Compared is the time that a request takes beside that of its run, which the platform reports: the run itself
varies by more than a door takes.
"""

import argparse
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests

from bench.client import PHASE, percentile

CODE = "print(1)"
API = "/api/v1"


@dataclass(frozen=True)
class Door:
    path: str
    body: dict[str, Any]
    stdout: Callable[[Any], Any]  # of an answer


DOORS = {
    API: Door("/api/v1/executions", {"runtime": "python", "code": CODE, "wait": 30}, lambda said: said["stdout"]),
    "Piston": Door(
        "/api/v2/execute",
        {"language": "python", "version": "*", "files": [{"content": CODE}]},
        lambda said: said["run"]["stdout"],
    ),
    "Judge0": Door(
        "/submissions?wait=true", {"language_id": 71, "source_code": CODE}, lambda said: said["stdout"]
    ),
    "Dify": Door(
        "/v1/sandbox/run",
        {"language": "python3", "code": CODE, "preload": "", "enable_network": True},
        lambda said: said["data"]["stdout"],
    ),
    "SandboxFusion": Door(
        "/run_code", {"language": "python", "code": CODE}, lambda said: said["run_result"]["stdout"]
    ),
    "LibreChat": Door("/exec", {"lang": "py", "code": CODE}, lambda said: said["stdout"]),
}


class Caller:
    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"

    def beside_the_run(self, door: Door) -> float:
        """Return the milliseconds of a request beside those of its run. Ends the program if it fails."""
        began = time.perf_counter()
        answer = self._session.post(f"{self._url}{door.path}", json=door.body, timeout=60)
        took = (time.perf_counter() - began) * 1000
        if not answer.ok or door.stdout(answer.json()) != "1\n":
            raise SystemExit(f"{door.path} answers {answer.status_code}: {answer.text[:500]}")
        return took - run_ms(answer)


def run_ms(answer: requests.Response) -> float:
    """Return the time from the run's queueing to its end, in milliseconds."""
    if timing := answer.headers.get("Server-Timing"):
        return sum(float(ms) for _, ms in PHASE.findall(timing))
    row = answer.json()
    queued, finished = (datetime.fromisoformat(row[name]) for name in ("queued_at", "finished_at"))
    return (finished - queued).total_seconds() * 1000


def measure(caller: Caller, runs: int, pause_s: float) -> dict[str, float]:
    """Return the median of each door."""
    samples: dict[str, list[float]] = {name: [] for name in DOORS}
    for _ in range(runs):
        for name in random.sample(list(DOORS), len(DOORS)):
            samples[name].append(caller.beside_the_run(DOORS[name]))
            time.sleep(pause_s)
    return {name: percentile(values, 50) for name, values in samples.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60, help="of each door")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds after each run, for the pool to be full")
    given = parser.parse_args()
    caller = Caller(os.environ.get("SANDBOX_URL", "http://127.0.0.1:9385"), os.environ["SANDBOX_TOKEN"])
    medians = measure(caller, given.runs, given.pause)
    print(f"{'p50, ms, beside the run':<24} {'':>8} {'added':>8}")
    for name, median in medians.items():
        print(f"{name:<24} {median:8.1f} {median - medians[API]:+8.1f}")


if __name__ == "__main__":
    main()
