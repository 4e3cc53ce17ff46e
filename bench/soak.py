"""Run thousands of programs and watch what must stay flat: `python -m bench.soak --runs 5000`.

Needs Docker, the images and root, but no running stack. After each tenth of the runs, with the pool at rest, it counts
what a sandbox could leave behind on the host and what the platform's processes hold. It exits with 1 if the last count
of anything is well above the first, which is taken after the first tenth: until then caches fill.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg

from bench.__main__ import WARM_POOL, say
from bench.client import TRIVIAL, Caller, load
from bench.pool import Pool
from bench.processes import Processes, platform

CALLERS = 8
# Ends of every kind: a result, an exception, a child that outlives the program, and a death for want of memory.
PROGRAMS = [
    *(("python", TRIVIAL["python"]), ("nodejs", TRIVIAL["nodejs"])) * 4,
    ("python", "def main(): raise ValueError"),
    ("python", "import os, time\ndef main():\n    if not os.fork(): time.sleep(99)\n    return 1"),
    ("python", "def main(): return len(bytearray(1 << 30))"),
]
Counts = dict[str, int]
# A count may grow by this share and this much: allocators and caches breathe.
SHARE = 1.15
SLACK = {"memory, MiB": 40, "descriptors": 24, "disk, MiB": 4, "queue and pool, KiB": 4096, "dead rows, %": 25}
# Tables whose rows come and go: their files stay small only if dead rows' places are used again.
COMING_AND_GOING = ("django_q_ormq", "executions_sandbox", "sandboxes_turn", "executions_failurepending")


def bloat(database_url: str) -> Counts:
    with psycopg.connect(database_url) as database:
        sizes = "SELECT sum(pg_total_relation_size(name::regclass)) FROM unnest(%s::text[]) name"
        [(size,)] = database.execute(sizes, [list(COMING_AND_GOING)]).fetchall()
        shares = "SELECT 100 * sum(n_dead_tup) / greatest(sum(n_live_tup), 1) FROM pg_stat_user_tables"
        [(dead,)] = database.execute(shares).fetchall()
    return {"queue and pool, KiB": int(size) >> 10, "dead rows, %": int(dead)}


def counts(processes: Processes) -> Counts:
    memory = descriptors = 0
    for folder in processes.own():
        # Each process's share: what Postgres shares would count once for each of its processes, and fills slowly.
        rollup = (folder / "smaps_rollup").read_text()
        memory += sum(int(line.split()[1]) << 10 for line in rollup.splitlines() if line.startswith("Pss:"))
        descriptors += len(list((folder / "fd").iterdir()))
    run = Path(os.environ.get("SANDBOX_RUN_DIR") or "/run/sandbox-platform")
    # Sockets and FIFOs, too.
    files = [path for path in run.rglob("*") if not path.is_dir()]
    return {
        "memory, MiB": memory >> 20,
        "descriptors": descriptors,
        "mounts": len(Path("/proc/self/mounts").read_text().splitlines()),
        "cgroups": len([path for path in Path("/sys/fs/cgroup").rglob("sandbox-platform/*") if path.is_dir()]),
        "network namespaces": len(set(_namespaces())),
        "processes": len(list(Path("/proc").glob("[0-9]*"))),
        "sandboxes' files": len(files),
        "disk, MiB": sum(path.lstat().st_size for path in files) >> 20,
        **bloat(processes.database_url),
    }


def _namespaces() -> Iterator[str]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            yield os.readlink(folder / "ns" / "net")


def batch(caller: Caller, runs: int) -> int:
    """Send this many runs; return how many the platform failed."""
    with ThreadPoolExecutor(CALLERS) as threads:
        samples = threads.map(lambda number: caller.run(*PROGRAMS[number % len(PROGRAMS)]), range(runs))
        return sum(sample.status in ("program_runner_error", "HTTP 500", "HTTP 503") for sample in samples)


def grown(first: Counts, last: Counts) -> list[str]:
    return [name for name, number in last.items() if number > first[name] * SHARE + SLACK.get(name, 8)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="direct", choices=["docker", "direct"])
    parser.add_argument("--runs", type=int, default=5000)
    options = parser.parse_args()
    taken: list[Counts] = []
    failed = 0
    with platform(options.engine, ["python", "nodejs"]) as processes:
        with psycopg.connect(processes.database_url) as database:
            # The code policy would refuse some of the programs, and nothing would run.
            database.execute("UPDATE runtimes_runtime SET ragflow_code_policy = 'off'")
        pool, caller = Pool(processes.database_url), Caller(processes.url, processes.token)
        with pool.size("python", WARM_POOL, WARM_POOL):
            for tenth in range(10):
                begin = time.monotonic()
                failed += batch(caller, options.runs // 10)
                rate = options.runs / 10 / (time.monotonic() - begin)
                pool.settle("python", WARM_POOL)
                taken.append(counts(processes))
                done = (tenth + 1) * options.runs // 10
                say(f"{done} runs, {rate:.1f}/s, {failed} failed, load {load()}: {taken[-1]}")
    worse = grown(taken[0], taken[-1])
    print(f"{options.runs} runs, {failed} failed by the platform; grown: {', '.join(worse) or 'nothing'}")
    for name in taken[0]:
        print(f"{name:<22}" + "".join(f"{count[name]:>8}" for count in taken))
    sys.exit(bool(worse or failed))


if __name__ == "__main__":
    main()
