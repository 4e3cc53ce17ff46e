"""Defects 7, 8 and 10 of RAGFlow's executor manager (docs/ragflow.md): memory, output, CPU; and fork bombs."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.live import Platform

pytestmark = [pytest.mark.needs_docker, pytest.mark.usefixtures("no_policy")]

MIB = 1024**2


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "def main(): return len(bytearray(10**9))"),
        ("python", "def main():\n    kept = []\n    while True: kept.append(bytearray(10**6))"),
        ("python", "def main():\n    kept = []\n    while True: kept.append(str(len(kept)) * 20)"),
        ("nodejs", "function main() { return Buffer.alloc(1e9, 1).length; }"),
        ("nodejs", "function main() { const kept = []; for (;;) kept.push(new Array(1e5).fill(1.5)); }"),
        ("nodejs", "function main() { const kept = []; for (;;) kept.push('y' + kept.length + Math.random()); }"),
    ],
    ids=["python-one", "python-blocks", "python-crumbs", "nodejs-one", "nodejs-blocks", "nodejs-crumbs"],
)
def test_07_out_of_memory_is_reported_as_that(platform, set_columns, language: str, code: str):
    # The kernel kills the sandbox, or one of its processes: then gVisor hangs until somebody looks.
    set_columns(language, wall_time_ms=30_000, cpu_time_ms=30_000)
    answer = platform.run(code, language)
    assert (answer["status"], answer["exit_code"]) == ("resource_limit_exceeded", -137)
    assert (answer["resource_limit_type"], answer["runtime_error_type"]) == ("memory", None)
    assert "256 MiB" in answer["stderr"]


def test_07_files_count_as_memory_and_say_so(platform, set_columns):
    set_columns("python", wall_time_ms=30_000, cpu_time_ms=30_000)
    code = """
def main():
    with open("/workspace/big", "wb") as f: f.write(bytes(90 * 2**20))
    with open("/tmp/big", "wb") as f: f.write(bytes(45 * 2**20))
    return len(bytearray(150 * 2**20))
"""
    answer = platform.run(code)
    assert (answer["exit_code"], "/workspace" in answer["stderr"]) == (-137, True)


FLOOD = {
    "python": """
import os, sys
def main(megabytes, fd):
    block = b"x" * 2**20
    for _ in range(megabytes):
        for part in range(0, 2**20, 2**16): os.write(fd, block[part:part + 2**16])
    return "done"
""",
    "nodejs": """
const fs = require('fs');
function main({megabytes, fd}) {
  const block = Buffer.alloc(65536, 'x');
  for (let i = 0; i < megabytes * 16; i++) fs.writeSync(fd, block);
  return 'done';
}
""",
}


def workers_of(platform: Platform) -> list[Path]:
    group = platform.processes["worker"].pid
    stats = []
    for p in Path("/proc").glob("[0-9]*"):
        # Others end while we look.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            stats.append((p, (p / "stat").read_text().rpartition(")")[2].split()))
    return [p for p, fields in stats if int(fields[2]) == group]


def peak_memory(processes: list[Path]) -> int:
    lines = [line for p in processes for line in (p / "status").read_text().splitlines() if "VmHWM" in line]
    return max(int(line.split()[1]) * 1024 for line in lines)


def test_08_flood_of_output_is_cut_and_costs_the_worker_nothing(platform, set_columns):
    set_columns("python", wall_time_ms=120_000, cpu_time_ms=120_000)
    workers = workers_of(platform)
    for process in workers:
        (process / "clear_refs").write_text("5")  # forget the peak of before
    before = peak_memory(workers)
    answer = platform.run(FLOOD["python"], arguments={"megabytes": 300, "fd": 1})
    assert (answer["status"], answer["result"]["value"]) == ("success", "done")
    assert answer["stdout"] == "x" * (4 * MIB)
    row = platform.last_execution()
    assert (row["stdout_truncated"], row["stderr_truncated"]) == (True, False)
    assert peak_memory(workers) - before < 64 * MIB


@pytest.mark.parametrize("language", ["python", "nodejs"])
@pytest.mark.parametrize(("fd", "outcome"), [(1, "stdout"), (2, "stderr")])
def test_08_output_limit_may_end_the_run(platform, set_columns, language: str, fd: int, outcome: str):
    set_columns(language, output_bytes=100_000, output_action="kill")
    answer = platform.run(FLOOD[language], language, {"megabytes": 50, "fd": fd})
    assert (answer["status"], answer["exit_code"]) == ("resource_limit_exceeded", -153)
    assert (answer["resource_limit_type"], answer["stdout"]) == ("output", "")
    assert "Output limit exceeded: more than the run's limit of 100000 bytes" in answer["stderr"]
    assert platform.last_execution()["outcome"] == outcome


@pytest.mark.parametrize("fd", [1, 2])
def test_08_each_stream_has_its_own_allowance(platform, set_columns, fd: int):
    set_columns("python", output_bytes=100_000)
    code = "import os\ndef main(fd):\n    os.write(fd, b'x' * 150_000)\n    os.write(3 - fd, b'other')"
    answer = platform.run(code, arguments={"fd": fd})
    streams = {1: answer["stdout"], 2: answer["stderr"]}
    assert (len(streams[fd]), streams[3 - fd]) == (100_000, "other")


def test_08_output_of_exactly_the_limit_is_not_cut(platform, set_columns):
    set_columns("python", output_bytes=100_000, output_action="kill")
    assert platform.run("def main(): print('x' * 99_999)")["status"] == "success"
    assert platform.last_execution()["stdout_truncated"] is False


def test_08_result_over_its_limit_is_refused_with_a_way_out(platform, set_columns):
    set_columns("python", result_bytes=10_000)
    answer = platform.run("def main(): return 'x' * 20_000")
    assert (answer["status"], answer["exit_code"]) == ("program_error", 1)
    assert "artifacts" in answer["stderr"]


def test_10_processes_of_a_run_share_its_cpus(platform):
    """Four busy processes on one core's worth of quota: what the host counted cannot exceed it by much."""
    code = """
import os, time
def main():
    end = time.monotonic() + 2
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            while time.monotonic() < end: pass
            os._exit(0)
        children.append(child)
    for child in children: os.waitpid(child, 0)
"""
    assert platform.run(code)["status"] == "success"
    row = platform.last_execution()
    wall_ms = (row["ended_at"] - row["started_at"]).total_seconds() * 1000
    assert row["cpu_ms"] < 1.5 * wall_ms


def test_10_busy_neighbours_do_not_starve_a_run(platform, set_columns):
    set_columns("python", wall_time_ms=20_000, cpu_time_ms=1000)
    with ThreadPoolExecutor() as pool:
        busy = [pool.submit(platform.run, "def main():\n    while True: pass") for _ in range(4)]
        trivial = pool.submit(platform.run, "function main() { return 1; }", "nodejs")
        assert trivial.result()["result"]["value"] == 1
        assert {answer.result()["exit_code"] for answer in busy} == {-124}


@pytest.mark.parametrize(
    "code",
    [
        "import os\ndef main():\n    while True:\n        try: os.fork()\n        except OSError: pass",
        # Returns at once and leaves it to its children.
        "import os\ndef main():\n    if os.fork(): return 1\n    while True:\n        try: os.fork()\n"
        "        except OSError: pass",
    ],
    ids=["parent-too", "children-only"],
)
def test_fork_bomb_ends_and_the_next_run_is_fine(platform, set_columns, code: str):
    set_columns("python", wall_time_ms=5000)
    platform.run(code)
    row = platform.last_execution()
    assert row["status"] in ("succeeded", "timed_out", "out_of_memory")
    assert platform.run("def main(): return 1")["result"]["value"] == 1


def test_fork_bomb_hits_the_process_limit(platform):
    code = """
import os, time
def main():
    for number in range(10_000):
        try: child = os.fork()
        except OSError as e: return [number, e.strerror]
        if child == 0: time.sleep(60)
"""
    answer = platform.run(code)
    if answer["status"] == "success":  # or its memory was used up first
        number, error = answer["result"]["value"]
        assert number <= 128
        assert error == "Resource temporarily unavailable"
    else:
        assert answer["resource_limit_type"] in ("memory", "time")
