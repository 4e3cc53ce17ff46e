"""Measure the recovery after worker, keeper and Postgres were killed together: `python -m bench.recovery`.

It needs Docker and the images of the runtimes, and starts a platform of its own as plain processes. Runs are sent; when
some have ended, the three parts get SIGKILL and are started again. The figures are seconds from the start of Postgres.
"""

import argparse
import os
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import django
import psycopg
import requests

# tests.live imports models, which need Django to be set up.
os.environ.setdefault("DJANGO_SECRET_KEY", "bench-only")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
django.setup()

from bench.client import TRIVIAL, load  # noqa: E402
from sandbox_platform.kit.locks import Lock  # noqa: E402
from tests.database import shared_templates  # noqa: E402
from tests.executions.test_resilience import descendants  # noqa: E402
from tests.live import TOKEN, Platform, eventually  # noqa: E402

PATIENCE_S = 300
HELD = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = %s"
ENDED = "SELECT 1 FROM executions_execution HAVING count(*) FILTER (WHERE finished_at IS NULL) = 0"
FULL = """
    SELECT 1 WHERE NOT EXISTS (
        SELECT FROM runtimes_runtime r LEFT JOIN executions_sandbox s ON s.runtime_id = r.id AND s.state = 'ready'
        WHERE r.enabled GROUP BY r.id HAVING count(s.id) < r.pool_min)
"""
MOMENTS: dict[str, tuple[Any, ...]] = {
    "keeper alive": (HELD, Lock.KEEPER),
    "worker alive": (HELD, Lock.WORKER),
    "every run has ended": (ENDED,),
    "pool has its size": (FULL,),
}
ENDS = "SELECT status, outcome, started, requeues, count(*) FROM executions_execution GROUP BY 1, 2, 3, 4"


def submit(platform: Platform, runs: int) -> None:
    body = {"runtime": "python", "code": TRIVIAL["python"], "mode": "function"}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for _ in range(runs):
        answer = requests.post(f"{platform.url}/api/v1/executions", json=body, headers=headers, timeout=60)
        answer.raise_for_status()


def kill(platform: Platform) -> None:
    """Kill worker, keeper and Postgres with all their processes."""
    postmaster = platform.postgres.process
    assert postmaster  # noqa: S101
    platform.sql("CHECKPOINT")  # a platform of the tests commits asynchronously
    for pid in [postmaster.pid, *descendants(postmaster.pid)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for name in ("worker", "keeper"):
        platform.kill(name)
    postmaster.wait()


def watch(platform: Platform) -> dict[str, float]:
    begin = time.monotonic()
    platform.postgres.start()
    for name in ("worker", "keeper"):
        platform.spawn(name)
    return {moment: _seconds_until(platform, query, begin) for moment, query in MOMENTS.items()}


def _seconds_until(platform: Platform, query: tuple[Any, ...], begin: float) -> float:
    def has_rows() -> bool:
        try:
            return bool(platform.sql(*query))
        except psycopg.OperationalError:
            return False

    eventually(has_rows, "it has recovered", PATIENCE_S)
    return round(time.monotonic() - begin, 1)


def measure(platform: Platform, runs: int) -> dict[str, Any]:
    submit(platform, runs)
    done = "SELECT count(*) FROM executions_execution WHERE finished_at IS NOT NULL"
    eventually(lambda: platform.sql(done)[0]["count"] >= runs / 8, "some have ended")
    kill(platform)
    seconds = watch(platform)
    return {"seconds": seconds, "ends": [tuple(row.values()) for row in platform.sql(ENDS)]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--workers", type=int, default=8)
    options = parser.parse_args()
    with shared_templates(), tempfile.TemporaryDirectory(prefix="bench-recovery-") as folder:
        platform = Platform(Path(folder), SANDBOX_WORKERS=str(options.workers))
        try:
            platform.start("python", "nodejs")
            print(f"load before: {load()}", flush=True)
            for name, value in measure(platform, options.runs).items():
                print(name, value, flush=True)
        finally:
            platform.stop()


if __name__ == "__main__":
    main()
