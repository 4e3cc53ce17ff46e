"""Compare an agent in a cluster with the same host without Kubernetes: `python -m bench.cluster VALUES`.

Needs KUBECONFIG of a cluster whose only node is this machine, the running Compose stack with the direct engine, and the
values of `make test-cluster`. Installs the chart in a namespace of its own and removes it again.

The two take turns in one run, with the same programs. Compared is the CPU that a run costs, because both share the
machine with what else each needs: of the host, worker, keeper and sandboxes; of the cluster, the agent's pod.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import django
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
django.setup()

from bench import stack  # noqa: E402
from bench.__main__ import say  # noqa: E402
from tests.cluster.release import HERE, Caller, Release  # noqa: E402

CGROUPS = Path("/sys/fs/cgroup")
PROGRAM = "print(sum(range(1000)))\n"
AT_ONCE = 4
# Until sandboxes that were used up are replaced: they are part of a run's cost.
REFILL_S = 8.0
UNPACKING_S = 60.0
VALUES = {"agent": {"workers": 8, "resources": {"limits": {"memory": "4Gi"}}}}
# Of v1 and of v2: where CPU time is read.
TREE = CGROUPS / "cpuacct" if (CGROUPS / "cpuacct").is_dir() else CGROUPS


def cgroup(*names: str) -> Path:
    """Return the folder of the cgroup that has one of these names."""
    found = [path for name in names for path in TREE.rglob(name) if path.is_dir()]
    if len(found) != 1:
        raise SystemExit(f"{len(found)} cgroups are named {' or '.join(names)}: one is needed")
    return found[0]


def cpu_s(folders: list[Path]) -> float:
    total = 0.0
    for folder in folders:
        if (v1 := folder / "cpuacct.usage").exists():
            total += int(v1.read_text()) / 1e9
        else:
            fields = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
            total += int(fields["usage_usec"]) / 1e6
    return total


def of_host() -> list[Path]:
    listed = ["docker", "compose", "ps", "--quiet", "worker", "keeper"]
    ids = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    return [*(cgroup(name, f"docker-{name}.scope") for name in ids), TREE / settings.SANDBOX_LABEL]


def of_agent(release: Release) -> list[Path]:
    uid = release.get(f"pod/{release.pods('agent')[0]}")["metadata"]["uid"]
    return [cgroup(f"pod{uid}", f"*pod{uid.replace('-', '_')}.slice")]


def send_from_host(runs: list[Any]) -> list[dict[str, Any]]:
    job = {"url": stack.url(), "token": stack.token(), "at_once": AT_ONCE, "requests": runs}
    command = [sys.executable, str(HERE / "calling.py"), json.dumps(job)]
    answers = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return list(answers)


def measure(
    send: Callable[[list[Any]], list[dict[str, Any]]], folders: list[Path], number: int
) -> tuple[float, float]:
    """Return runs a second, and the CPU seconds of one."""
    run = ("POST", "/api/v1/executions", {"runtime": "python", "code": PROGRAM, "wait": 300})
    before = cpu_s(folders)
    bodies: list[Any] = [answer.get("body") for answer in send([run] * number)]
    time.sleep(REFILL_S)
    spent = cpu_s(folders) - before
    failed = [body for body in bodies if not isinstance(body, dict) or body.get("status") != "succeeded"]
    if failed:
        raise SystemExit(f"{len(failed)} of {number} runs failed: {failed[0]}")
    began = min(datetime.fromisoformat(body["queued_at"]) for body in bodies)
    ended = max(datetime.fromisoformat(body["finished_at"]) for body in bodies)
    return number / (ended - began).total_seconds(), spent / number


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cluster")
    parser.add_argument("values", help="values file that names the images")
    parser.add_argument("--runs", type=int, default=100, help="programs in each turn")
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    os.environ["SANDBOX_CLUSTER_VALUES"] = str(Path(args.values).resolve())
    release = Release("bench", VALUES)
    say("installing the chart")
    try:
        release.make_namespace()
        release.install()
        caller = Caller(release)
        subjects = {
            "host": (send_from_host, of_host()),
            "agent": (lambda runs: caller.send_all(runs, at_once=AT_ONCE), of_agent(release)),
        }
        # The agent is ready before it has unpacked the images of all runtimes.
        time.sleep(UNPACKING_S)
        for send, folders in subjects.values():
            measure(send, folders, AT_ONCE)
        print("| turn | | runs a second | CPU of a run, ms | load |\n|--:|---|--:|--:|--:|")
        costs: dict[str, float] = dict.fromkeys(subjects, 0.0)
        for turn in range(1, args.turns + 1):
            for name, (send, folders) in subjects.items():
                rate, cost = measure(send, folders, args.runs)
                costs[name] += cost / args.turns
                print(
                    f"| {turn} | {name} | {rate:.2f} | {cost * 1000:.0f} | {os.getloadavg()[0]:.1f} |", flush=True
                )
        print(f"\nthroughput per core, agent to host: {costs['host'] / costs['agent']:.2f}")
    finally:
        release.remove()


if __name__ == "__main__":
    main()
