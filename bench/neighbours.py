"""Measure how busy sandboxes delay the host's processes: `python -m bench.neighbours`, with the stack running.

Eight processes sleep 50 ms again and again; the figure is how late the latest of them woke. It alternates between
endless programs on the platform, beside its idle pool, and the same in containers with Docker's defaults, beside as
many idle containers. The other figure is how long the programs ran until their time limit ended them.
"""

import argparse
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench import floor, stack
from bench.client import Caller, load
from bench.pool import Pool

ENDLESS = "def main():\n    while True: pass"
HEARTBEATS = 8
HEARTBEAT = """
import sys, time
until, last, latest = time.monotonic() + float(sys.argv[1]), time.monotonic(), 0.0
while last < until:
    time.sleep(0.05)
    now = time.monotonic()
    last, latest = now, max(latest, now - last - 0.05)
print(latest)
"""
IDLE = 4


class Heartbeats:
    """Host processes, each in its own session, so that the scheduler's autogroups treat them separately."""

    def __init__(self, seconds: float) -> None:
        command = [sys.executable, "-c", HEARTBEAT, str(seconds)]
        self._processes = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
            for _ in range(HEARTBEATS)
        ]

    def latest_ms(self) -> float:
        return round(max(float(process.communicate()[0]) for process in self._processes) * 1000, 1)


def platform(pool: Pool, caller: Caller, busy: int, seconds: float) -> dict[str, Any]:
    with pool.size("python", IDLE, IDLE), ThreadPoolExecutor(busy) as threads:
        pool.settle("python", IDLE)
        runs = [threads.submit(caller.run, "python", ENDLESS) for _ in range(busy)]
        latest = Heartbeats(seconds).latest_ms()
        samples = [run.result() for run in runs]
    return {
        "latest heartbeat (ms)": latest,
        "run (ms)": [round(sample.phases_ms.get("run", 0.0)) for sample in samples],
        "status": sorted({sample.status for sample in samples}),
    }


def containers(pool: Pool, image: str, busy: int, seconds: float) -> dict[str, Any]:
    def start(program: str) -> str:
        command = [
            floor.docker(), "run", "--detach", "--rm", "--runtime=runsc", "--network=none", "--cpus=1",
            "--entrypoint=python3", image, "-c", program,
        ]  # fmt: skip
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    with pool.size("python", 0, 0):
        pool.settle("python", 0)
        started = [start("import time; time.sleep(3600)") for _ in range(IDLE)]
        try:
            started += [start("while True: pass") for _ in range(busy)]
            return {"latest heartbeat (ms)": Heartbeats(seconds).latest_ms()}
        finally:
            subprocess.run([floor.docker(), "kill", *started], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=2, help="number of endless programs")
    parser.add_argument("--seconds", type=float, default=12.0, help="how long to watch the heartbeats")
    parser.add_argument("--turns", type=int, default=4)
    options = parser.parse_args()
    pool, caller = Pool(stack.database_url()), Caller(stack.url(), stack.token())
    image = pool.images()["python"]
    print(f"load before: {load()}")
    for _ in range(options.turns):
        print("containers", containers(pool, image, options.busy, options.seconds), flush=True)
        time.sleep(2)
        print("platform  ", platform(pool, caller, options.busy, options.seconds), flush=True)
    print(f"load after: {load()}")


if __name__ == "__main__":
    main()
