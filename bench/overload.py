"""Send more than the platform can do, as three clients of unequal appetite: `python -m bench.overload`.

Needs Docker, the image of Python and root, and starts a platform of its own as plain processes. It measures the
capacity, and then sends runs at 50, 90, 150 and 300 % of it, each for `--minutes`, at times that do not depend on the
answers (an open loop: a slow platform gets no fewer requests). Between two stages it waits until the platform is at
rest. It exits with 1 if a request failed in another way than 429 or 503 with `Retry-After`, if the client of the
smallest appetite was not served, or if the platform was not at rest within half a minute.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import django
import requests

# tests.live imports models, which need Django to be set up.
os.environ.setdefault("DJANGO_SECRET_KEY", "bench-only")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
os.environ.setdefault("SANDBOX_ENGINE", "direct")
django.setup()

from bench.client import TRIVIAL, Caller, load, percentile  # noqa: E402
from tests.database import shared_templates  # noqa: E402
from tests.executions.test_resilience import descendants  # noqa: E402
from tests.live import Platform  # noqa: E402

# Shares of what is sent, by client.
APPETITES = {"large": 0.75, "middling": 0.2, "small": 0.05}
STAGES = (0.5, 0.9, 1.5, 3.0)
CLIENTS = (
    "from clients.models import Client\n"
    f"for name in {tuple(APPETITES)!r}: Client.objects.create_with_token(name, name * 8)"
)
SEED = 20261129
SENDERS = 600  # requests at a time; more than one process of the web takes
TIMEOUT_S = 300
SERVED = 0.95  # of the smallest client's requests
REST_S = 30.0
CAPACITY_S = 30.0
UNDONE = "SELECT 1 FROM executions_execution WHERE finished_at IS NULL"


@dataclass
class Stage:
    share: float
    rate: float
    answers: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in APPETITES})
    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in APPETITES})
    health_s: list[float] = field(default_factory=list)
    rest_s: float = 0.0
    memory: int = 0
    descriptors: int = 0

    def findings(self) -> list[str]:
        found = [
            f"{self.share:.0%}: {number} requests of {name} ended as {end}"
            for name, ends in self.answers.items()
            for end, number in ends.items()
            if end not in ("served", "refused")
        ]
        small = self.answers["small"]
        if small["served"] < SERVED * small.total():
            found.append(f"{self.share:.0%}: the smallest client was served {small['served']} of {small.total()}")
        if self.rest_s > REST_S:
            found.append(f"{self.share:.0%}: at rest after {self.rest_s:.0f} s only")
        return found

    def row(self) -> str:
        cells = [f"{self.share:.0%}", f"{self.rate:.1f}"]
        for name in APPETITES:
            ends, seconds = self.answers[name], self.seconds[name]
            times = f"{statistics.median(seconds):.2f} / {percentile(seconds, 95):.2f} s" if seconds else "–"
            cells.append(f"{ends['served']} of {ends.total()}, {times}")
        cells += [
            f"{max(self.health_s):.2f} s",
            f"{self.rest_s:.0f} s",
            f"{self.memory} MiB",
            str(self.descriptors),
        ]
        return "| " + " | ".join(cells) + " |"


HEAD = (
    "| of capacity | sent a second | "
    + " | ".join(f"{name}: served, p50 / p95" for name in APPETITES)
    + " | /healthz: max | at rest after | memory | descriptors |\n|"
    + "--:|" * (len(APPETITES) + 6)
)


def send(platform: Platform, stage: Stage, client: str) -> None:
    began = time.monotonic()
    try:
        answer = requests.post(
            f"{platform.url}/run",
            json={"code_b64": "ZGVmIG1haW4oKTogcmV0dXJuIDE=", "language": "python"},
            headers={"Authorization": f"Bearer {client * 8}"},
            timeout=TIMEOUT_S,
        )
    except requests.RequestException as error:
        stage.answers[client][type(error).__name__] += 1
        return
    if answer.status_code == 200 and answer.json()["status"] == "success":
        stage.answers[client]["served"] += 1
        stage.seconds[client].append(time.monotonic() - began)
    elif answer.status_code in (429, 503) and answer.headers.get("Retry-After", "").isdigit():
        stage.answers[client]["refused"] += 1
    else:
        stage.answers[client][f"HTTP {answer.status_code}: {answer.text[:80]}"] += 1


def watch_health(platform: Platform, stage: Stage, ended: threading.Event) -> None:
    while not ended.wait(1):
        began = time.monotonic()
        with suppress(requests.RequestException):
            requests.get(f"{platform.url}/healthz", timeout=30)
        stage.health_s.append(time.monotonic() - began)


def run(platform: Platform, share: float, rate: float, seconds: float, chance: random.Random) -> Stage:
    stage, ended = Stage(share, rate), threading.Event()
    watching = threading.Thread(target=watch_health, args=(platform, stage, ended))
    watching.start()
    begin = at = time.monotonic()
    with ThreadPoolExecutor(SENDERS) as senders:
        while (at := at + chance.expovariate(rate)) < begin + seconds:
            time.sleep(max(0.0, at - time.monotonic()))
            client = chance.choices(tuple(APPETITES), tuple(APPETITES.values()))[0]
            senders.submit(send, platform, stage, client)
        last = time.monotonic()
    ended.set()
    watching.join()
    while platform.sql(UNDONE):
        time.sleep(0.2)
    stage.rest_s = time.monotonic() - last
    stage.memory, stage.descriptors = held(platform)
    return stage


def held(platform: Platform) -> tuple[int, int]:
    """Return the MiB (each process's share of what is shared) and the descriptors of the platform's processes."""
    roots = [process.pid for process in (*platform.processes.values(), platform.postgres.process) if process]
    memory = descriptors = 0
    for pid in [*roots, *(child for root in roots for child in descendants(root))]:
        folder = Path(f"/proc/{pid}")
        with suppress(OSError):  # it has ended
            rollup = (folder / "smaps_rollup").read_text()
            memory += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            descriptors += len(list((folder / "fd").iterdir()))
    return memory >> 10, descriptors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="for each stage")
    options = parser.parse_args()
    findings: list[str] = []
    with shared_templates(), tempfile.TemporaryDirectory(prefix="bench-overload-") as folder:
        platform = Platform(Path(folder), SANDBOX_EXECUTOR_MANAGER_POOL_SIZE="4", SANDBOX_WORKERS="8")
        try:
            platform.start("python")
            platform.manage("shell", "-c", CLIENTS)
            caller = Caller(platform.url, "large" * 8)
            assert caller.run("python", TRIVIAL["python"]).status == "success"  # noqa: S101
            _, capacity = caller.sustained("python", callers=8, seconds=CAPACITY_S)
            print(f"{os.cpu_count()} cores, load {load()}, capacity {capacity:.1f} runs/s\n\n{HEAD}", flush=True)
            chance = random.Random(SEED)  # noqa: S311
            for share in STAGES:
                stage = run(platform, share, share * capacity, options.minutes * 60, chance)
                findings += stage.findings()
                print(stage.row(), flush=True)
        finally:
            platform.stop()
    print("\n" + ("\n".join(findings) or "Nothing failed."))
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
