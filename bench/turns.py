"""Measure how long one client's single runs wait beside another client's burst: `python -m bench.turns`.

It needs Docker and the image of the runtime python, and starts a platform of its own as plain processes. The client
`burst` sends more runs a second than the node can do, and does not wait for them. The client `single` sends one run at
a time. The figures are the times from the acceptance of a single run to its claim by a worker, to its sandbox and to
its end.
"""

import argparse
import itertools
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import django
import requests

# tests.live imports models, which need Django to be set up.
os.environ.setdefault("DJANGO_SECRET_KEY", "bench-only")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
django.setup()

from bench.client import TRIVIAL, load, percentile  # noqa: E402
from tests.database import shared_templates  # noqa: E402
from tests.live import Platform, eventually  # noqa: E402

BURST, SINGLE = "burst", "single"
CLIENTS = (
    "from clients.models import Client\n"
    f"for name in {(BURST, SINGLE)!r}: Client.objects.create_with_token(name, name * 8)"
)
# Milliseconds from the acceptance of each run of a client to three moments of it.
WAITS = """
    SELECT extract(epoch FROM e.claimed_at - e.queued_at)::float * 1000 AS claimed,
           extract(epoch FROM e.sandbox_at - e.queued_at)::float * 1000 AS sandbox,
           extract(epoch FROM e.finished_at - e.queued_at)::float * 1000 AS finished,
           e.status
    FROM executions_execution e JOIN executions_client c ON c.id = e.client_id
    WHERE c.name = %s AND e.finished_at IS NOT NULL AND e.queued_at > now() - make_interval(secs => %s)
"""
COUNT = "SELECT count(*) FROM executions_execution WHERE finished_at > now() - make_interval(secs => %s)"
BODY = {"runtime": "python", "code": TRIVIAL["python"], "mode": "function"}


def submit(platform: Platform, client: str, wait: float | None = None) -> requests.Response:
    body = BODY if wait is None else BODY | {"wait": wait}
    headers = {"Authorization": f"Bearer {client * 8}"}
    return requests.post(f"{platform.url}/api/v1/executions", json=body, headers=headers, timeout=120)


def send_burst(platform: Platform, rate: float, until: float) -> int:
    """Send runs at this rate, whether or not earlier ones have ended; return how many were accepted."""
    begin = time.monotonic()
    with ThreadPoolExecutor(16) as threads:
        answers = []
        for number in itertools.count():
            if time.monotonic() >= until:
                break
            answers.append(threads.submit(submit, platform, BURST))
            time.sleep(max(0.0, begin + (number + 1) / rate - time.monotonic()))
        return sum(answer.result().status_code in (201, 202) for answer in answers)


def send_singles(platform: Platform, pause: float, until: float) -> None:
    while time.monotonic() < until:
        submit(platform, SINGLE, wait=60)
        time.sleep(pause)


def measure(platform: Platform, rate: float, pause: float, seconds: float) -> dict[str, Any]:
    platform.manage("shell", "-c", CLIENTS)
    begin = time.monotonic()
    until = begin + seconds
    with ThreadPoolExecutor(2) as threads:
        burst = threads.submit(send_burst, platform, rate, until)
        time.sleep(seconds / 6)  # the burst has filled the queue by then
        threads.submit(send_singles, platform, pause, until).result()
        sent = burst.result()
    took = time.monotonic() - begin
    done = platform.sql(COUNT, took)[0]["count"]
    rows = platform.sql(WAITS, SINGLE, took)
    figures = {
        moment: {f"p{p}_ms": round(percentile([row[moment] for row in rows], p)) for p in (50, 95, 100)}
        for moment in ("claimed", "sandbox", "finished")
    }
    return {
        "burst": {"sent": sent, "sent_per_s": round(sent / seconds, 1)},
        "runs_per_s": round(done / took, 1),
        "single": {"n": len(rows), "status": sorted({row["status"] for row in rows})} | figures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=13.0, help="runs a second of the client that sends a burst")
    parser.add_argument("--pause", type=float, default=0.5, help="pause between two single runs, in seconds")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=8)
    options = parser.parse_args()
    with shared_templates(), tempfile.TemporaryDirectory(prefix="bench-turns-") as folder:
        platform = Platform(Path(folder), SANDBOX_WORKERS=str(options.workers))
        try:
            platform.start("python")
            eventually(lambda: platform.sql("SELECT 1 FROM executions_sandbox WHERE state = 'ready'"), "warm", 60)
            print(f"load before: {load()}", flush=True)
            print(measure(platform, options.rate, options.pause, options.seconds))
        finally:
            with suppress(requests.RequestException):
                platform.stop()


if __name__ == "__main__":
    main()
