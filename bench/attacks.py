"""Attack a platform and measure another client meanwhile: `python -m bench.attacks`.

It needs Docker and the image of Python, and starts a platform of its own as plain processes. One caller attacks, over
loopback, in each of the ways of bench.attacker. Meanwhile another client's POST /run and the health check are timed,
and the memory of the web's processes is summed. It exits with 1 if the best of either took more than a second, or the
web more than its limit in docker-compose.yml.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import django
import requests
import yaml

# tests.live imports models, which need Django to be set up.
os.environ.setdefault("DJANGO_SECRET_KEY", "bench-only")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
django.setup()

from bench.client import TRIVIAL, Caller, load  # noqa: E402
from sandbox_platform.kit.env import parse_memory  # noqa: E402
from tests.database import shared_templates  # noqa: E402
from tests.executions.test_resilience import descendants  # noqa: E402
from tests.live import ROOT, Platform  # noqa: E402

LONGEST_S = 1.0
CLIENTS = "from clients.models import Client\nfor name in 'ab': Client.objects.create_with_token(name, name * 32)"
# Of each attack as much as the review sent; callers of what is repeated.
FULL = {
    "half heads": 280,
    "half bodies": 280,
    "idle connections": 2300,
    "unread answers": 280,
    "uploads before the login": 8,
    "waits": 270,
    "programs of many lines": 8,
    "arguments of many lists": 8,
    "pages of large programs": 8,
}
FILES = 16_384  # open files of the attacker


@dataclass
class Figures:
    run_s: list[float] = field(default_factory=list)
    health_s: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    @property
    def is_quick(self) -> bool:
        return min(self.run_s) < LONGEST_S and min(self.health_s) < LONGEST_S

    @property
    def passes(self) -> bool:
        return self.is_quick and self.peak_bytes < web_limit()


def web_limit() -> int:
    """Return the memory limit of the service web, in bytes, as docker-compose.yml sets it."""
    text = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["web"]["mem_limit"]
    return parse_memory(text.partition(":-")[2].rstrip("}"))


def add_clients(platform: Platform) -> None:
    """The attacker and the other client."""
    platform.manage("shell", "-c", CLIENTS)


def web_bytes(platform: Platform) -> int:
    """Return the sum of the peaks of the web's living processes, since `forget_peaks`."""
    return sum(
        int(line.split()[1]) * 1024
        for status in _web_files(platform, "status")
        for line in _read(status).splitlines()
        if line.startswith("VmHWM")
    )


def forget_peaks(platform: Platform) -> None:
    for file in _web_files(platform, "clear_refs"):
        file.write_text("5")


def _web_files(platform: Platform, name: str) -> Iterator[Path]:
    master = platform.processes["web"].pid
    return (Path(f"/proc/{pid}/{name}") for pid in (master, *descendants(master)))


def _read(path: Path) -> str:
    with suppress(OSError):  # the process has ended
        return path.read_text()
    return ""


@contextmanager
def attacker(platform: Platform, name: str, count: int) -> Iterator[None]:
    """Attack meanwhile."""
    command = [sys.executable, "-m", "bench.attacker", name, str(platform.port), "a" * 32, str(count)]

    def may_open() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    attack = subprocess.Popen(  # noqa: S603
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        preexec_fn=may_open,  # noqa: PLW1509
    )
    try:
        assert attack.stdout and attack.stdout.readline() == b"ready\n", name  # noqa: S101
        yield
    finally:
        attack.kill()
        attack.wait()


def measure(platform: Platform, name: str, count: int, tries: int, more: int = 0) -> Figures:
    """Attack, and time the other client `tries` times, and up to `more` times while none was quick enough."""
    figures, ended = Figures(), threading.Event()
    other = Caller(platform.url, "b" * 32)
    other.run("python", TRIVIAL["python"])  # the first request of a process is slower
    forget_peaks(platform)

    def watch() -> None:
        while not ended.wait(0.05):
            figures.peak_bytes = max(figures.peak_bytes, web_bytes(platform))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        with attacker(platform, name, count):
            for number in range(tries + more):
                if number >= tries and figures.is_quick:
                    break
                figures.health_s.append(timed(lambda: healthy(platform)))
                figures.run_s.append(timed(lambda: ran(platform)))
    finally:
        ended.set()
        watching.join()
    return figures


def timed(work: Callable[[], bool]) -> float:
    """Return the seconds that the work took; infinity if it failed."""
    began = time.monotonic()
    with suppress(requests.RequestException):
        if work():
            return time.monotonic() - began
    return float("inf")


def healthy(platform: Platform) -> bool:
    return requests.get(f"{platform.url}/healthz", timeout=10).status_code == 200


def ran(platform: Platform) -> bool:
    """On a connection of its own, as a new caller."""
    return Caller(platform.url, "b" * 32).run("python", TRIVIAL["python"]).status == "success"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=10)
    parser.add_argument("--only", choices=FULL)
    options = parser.parse_args()
    failed = False
    with shared_templates(), tempfile.TemporaryDirectory(prefix="bench-attacks-") as folder:
        platform = Platform(Path(folder), SANDBOX_TIMEOUT="15m", SANDBOX_EXECUTOR_MANAGER_POOL_SIZE="4")
        try:
            platform.start("python")
            add_clients(platform)
            print(f"{os.cpu_count()} cores, load before {load()}, memory limit {web_limit() >> 20} MiB\n")
            print("| attack | size | other client: p50 | max | /healthz: max | memory of the web |")
            print("|---|--:|--:|--:|--:|--:|")
            for name, count in FULL.items():
                if options.only in (None, name):
                    figures = measure(platform, name, count, options.tries)
                    failed = failed or not figures.passes
                    seconds = (statistics.median(figures.run_s), max(figures.run_s), max(figures.health_s))
                    cells = " | ".join(f"{each:.2f} s" for each in seconds)
                    print(f"| {name} | {count} | {cells} | {figures.peak_bytes >> 20} MiB |", flush=True)
        finally:
            platform.stop()
    return failed


if __name__ == "__main__":
    sys.exit(main())
