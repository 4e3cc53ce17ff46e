"""Compare the engines: `python -m bench.engines`. Needs Docker, the images and root, but no running stack.

For each engine it starts a platform of its own (plain processes, a Postgres of their own) and measures the two in turn,
in one run, because a machine's speed changes within minutes. `own floor` is the engine alone: sandboxes of the same
image that are started, become ready and are removed in a loop, without the platform.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any

import psycopg

from bench.__main__ import WARM_POOL, say, warm
from bench.client import IMPORT_PANDAS, TRIVIAL, Caller, load, percentile
from bench.pool import Pool
from bench.processes import ROOT, Processes, platform

ENGINES = ("docker", "direct")
CALLERS = (4, 8)
IDLE_S = 20.0
RUNTIMES = ["python", "nodejs"]
FLOOR = """
import sys, time, django; django.setup()
from concurrent.futures import ThreadPoolExecutor
from runtimes.models import Runtime
from sandboxes.configuration import SandboxConfiguration
from sandboxes.engines import get_engine
from sandboxes.models import Sandbox
from sandboxes.session import wait_until_ready
slug, parallel, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
engine = get_engine()
configuration = SandboxConfiguration.of_runtime(Runtime.objects.get(slug=slug))
spec = configuration.spec(Sandbox(image_id=engine.image_id(configuration.image)))
until = time.monotonic() + seconds
def loop(_):
    number = 0
    while time.monotonic() < until:
        name = engine.create(spec)
        channel = engine.attach(name)
        try:
            engine.start(name)
            wait_until_ready(channel, name)
        finally:
            channel.close()
            engine.remove(name)
        number += 1
    return number
with ThreadPoolExecutor(parallel) as threads:
    print(sum(threads.map(loop, range(parallel))) / seconds)
"""


class Subject:
    """The platform with one engine."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.pool = Pool(processes.database_url)
        self.caller = Caller(processes.url, processes.token)
        self.figures: dict[str, Any] = {}

    def warm(self, name: str, language: str, code: str, runs: int) -> None:
        found = warm(self.pool, self.caller, language, code, runs)
        self.figures[name] = found["p50_ms"]
        self.figures[f"{name}, p95"] = found["p95_ms"]

    def sustained(self, language: str, callers: int, seconds: float) -> None:
        say(f"{self.processes.engine}: {language}, {callers} callers for {seconds:.0f} s")
        with self.pool.size(language, 1, WARM_POOL):
            self.pool.settle(language, 1)
            before = self.processes.cpu_s()
            samples, rate = self.caller.sustained(language, callers=callers, seconds=seconds)
            cpu_ms = (self.processes.cpu_s() - before) * 1000 / len(samples)
        name = f"{language}, runs/s"
        self.figures[name] = max(self.figures.get(name, 0.0), round(rate, 2))
        self._add_failed(samples)
        name = f"{language}, the platform's CPU a run, ms"
        self.figures[name] = round(min(self.figures.get(name, cpu_ms), cpu_ms), 1)

    def sequential(self, seconds: float) -> None:
        say(f"{self.processes.engine}: one caller for {seconds:.0f} s")
        with self.pool.size("python", 1, WARM_POOL):
            self.pool.settle("python", 1)
            samples, _ = self.caller.sustained("python", callers=1, seconds=seconds)
        totals = [sample.total_ms for sample in samples]
        self._add_failed(samples)
        for percent in (50, 95):
            self.figures[f"one caller, p{percent}, ms"] = round(percentile(totals, percent), 1)

    def _add_failed(self, samples: list[Any]) -> None:
        failed = sum(sample.status != "success" for sample in samples)
        self.figures["failed"] = self.figures.get("failed", 0) + failed

    def idle(self) -> None:
        say(f"{self.processes.engine}: idle warm sandboxes for {IDLE_S:.0f} s")
        with self.pool.size("python", WARM_POOL, WARM_POOL):
            self.pool.settle("python", WARM_POOL)
            time.sleep(5)  # they load their modules
            before = self._cpu_of_sandboxes()
            time.sleep(IDLE_S)
            used = [after - before[name] for name, after in self._cpu_of_sandboxes().items() if name in before]
        self.figures["idle sandbox, % of a core"] = round(sum(used) / len(used) / IDLE_S / 10, 2)

    def _cpu_of_sandboxes(self) -> dict[str, int]:
        from sandboxes import cgroup  # the settings it reads are in the environment since main()

        with psycopg.connect(self.processes.database_url) as database:
            rows = database.execute("SELECT container_id FROM executions_sandbox WHERE state = 'ready'").fetchall()
        usages = {name: cgroup.usage(name) for (name,) in rows}
        return {name: usage.cpu_ms for name, usage in usages.items() if usage}

    def floor(self, language: str, parallel: int, seconds: float) -> None:
        say(f"{self.processes.engine}: {language}, the engine alone, {parallel} at once")
        environment = self.processes.environment | {
            "DJANGO_SETTINGS_MODULE": "sandbox_platform.settings",
            "SANDBOX_NODE": f"bench-floor-{os.getpid()}",  # the platform's keeper removes what has no row
        }
        with self.pool.size(language, 0, 0):
            self.pool.settle(language, 0)
            done = subprocess.run(
                [sys.executable, "-c", FLOOR, language, str(parallel), str(seconds)],
                cwd=ROOT, env=environment, check=True, capture_output=True, text=True,
            )  # fmt: skip
        name = f"{language}, own floor, sandboxes/s"
        self.figures[name] = max(self.figures.get(name, 0.0), round(float(done.stdout), 2))


def measure(subjects: list[Subject], runs: int, seconds: float) -> None:
    for language in RUNTIMES:
        for subject in subjects:
            subject.warm(f"{language}, warm p50, ms", language, TRIVIAL[language], runs)
        for callers in CALLERS:
            for subject in subjects:
                subject.floor(language, callers // 2, seconds)
            for subject in subjects:
                subject.sustained(language, callers, seconds)
    for subject in subjects:
        subject.warm("python, import pandas, p50, ms", "python", IMPORT_PANDAS, runs)
    for subject in subjects:
        subject.sequential(seconds * 2.4)
    for subject in subjects:
        subject.idle()


def table(subjects: list[Subject]) -> str:
    names = [subject.processes.engine for subject in subjects]
    lines = [f"{'':<42}" + "".join(f"{name:>10}" for name in [*names, "ratio"])]
    for name in subjects[0].figures:
        values = [float(subject.figures.get(name, 0)) for subject in subjects]
        ratio = f"{values[-1] / values[0]:.2f}" if len(values) > 1 and values[0] else ""
        lines.append(f"{name:<42}" + "".join(f"{value:>10}" for value in values) + f"{ratio:>10}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default=",".join(ENGINES), help="in this order; the ratio is last to first")
    parser.add_argument("--quick", action="store_true", help="fewer runs: a rough look, not a measurement")
    parser.add_argument("--json", help="write the figures to this file, too")
    options = parser.parse_args()
    runs, seconds = (6, 8.0) if options.quick else (25, 25.0)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
    os.environ.setdefault("DJANGO_SECRET_KEY", "bench")
    os.environ.setdefault("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")  # this process uses no database
    before = load()
    with ExitStack() as stack:
        subjects = [
            Subject(stack.enter_context(platform(engine, RUNTIMES))) for engine in options.engines.split(",")
        ]
        try:
            measure(subjects, runs, seconds)
        finally:
            report(subjects, before, options.json)


def report(subjects: list[Subject], load_before: float, path: str | None) -> None:
    """Print the figures, of an interrupted measurement those that there are."""
    print(f"load before {load_before}, after {load()}; {os.cpu_count()} cores")
    print(table(subjects), flush=True)
    if path:
        with open(path, "w") as file:
            json.dump({subject.processes.engine: subject.figures for subject in subjects}, file, indent=1)


if __name__ == "__main__":
    main()
