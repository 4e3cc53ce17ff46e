"""What must hold after a fault, by what the host and the database show."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg

from bench.chaos.load import Load, Receiver
from bench.chaos.outside import RECORDED
from bench.chaos.parts import Chaotic, command_line

PATIENCE_S = 600  # a busy machine takes minutes for the runs themselves
POLL_S = 0.3
SWEPT_S = 60
OUT_S = 60
# A pool without doors for each runtime, and one with doors where a client may call out.
POOL = """
    SELECT 1 FROM runtimes_runtime r CROSS JOIN (VALUES ('none'), ('egress')) AS kind (network)
    WHERE r.enabled AND (kind.network = 'none' OR r.network = 'egress'
            AND EXISTS (SELECT FROM executions_client WHERE enabled AND network = 'egress'))
        AND r.pool_min > (SELECT count(*) FROM executions_sandbox s
            WHERE s.runtime_id = r.id AND s.network = kind.network AND s.state = 'ready')
"""
OPEN = "SELECT 1 FROM executions_execution WHERE finished_at IS NULL"
UNTOLD = "SELECT 1 FROM executions_delivery WHERE finished_at IS NULL"
ENDED = "SELECT count(*) AS ended FROM executions_execution WHERE finished_at IS NOT NULL"
DELIVERY = """
    SELECT status, attempt_count, last_status_code, last_error, finished_at::text FROM executions_delivery
    WHERE execution_id = %s
"""
TWICE = "SELECT execution_id FROM witness GROUP BY execution_id HAVING count(*) > 1"
ENDS = "SELECT id::text, status, outcome, started, result FROM executions_execution WHERE endpoint = 'api'"


@dataclass
class Verdict:
    accepted: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    # Seconds from the end of the fault until the first execution ended, until all had, and until the pool had its size.
    served_s: float | None = None
    ended_s: float | None = None
    back_s: float | None = None
    broken: list[str] = field(default_factory=list)


def traces(platform: Chaotic) -> set[str]:
    """Return what there is on the host of no living sandbox: containers, files, mounts, cgroups and processes."""
    living = platform.sandboxes()
    if platform.is_docker:
        # Docker keeps its containers whether somebody wants them or not: living are those that have a row.
        known = {row["container_id"] for row in platform.sql("SELECT container_id FROM executions_sandbox")}
        forgotten = {f"container {name}" for name in living - known}
        processes = {f"process {command_line(pid)}" for pid in platform.pids_of("sandboxes")}
        return forgotten | {one for one in processes if not any(name in one for name in living)}
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        found = [f"mount {line.split()[1]}" for line in mounts if str(platform.run_folder) in line]
    found += [f"file {path}" for path in platform.run_folder.rglob("*") if not path.is_dir()]
    found += [f"cgroup {path}" for path in cgroups(platform.node)]
    found += [f"process {command_line(pid)}" for pid in platform.pids_of("sandboxes")]
    found = [one for one in found if not any(name in one for name in living)]
    return {*found, *forgotten_doors(platform)}


def forgotten_doors(platform: Chaotic) -> Iterator[str]:
    if platform.outside:
        doors = platform.outside.doors_of()
        known = {row["id"] for row in platform.sql("SELECT id::text FROM executions_sandbox")}
        yield from (f"door of sandbox {name}" for name in doors - known)


def cgroups(node: str) -> Iterator[str]:
    """Yield the paths below the node's own cgroups. Others come and go meanwhile, which os.walk() minds less."""
    for folder, folders, _ in os.walk("/sys/fs/cgroup"):
        if node in os.path.basename(folder):
            yield from (os.path.join(folder, name) for name in folders)


def has_no(platform: Chaotic, *queries: str) -> bool:
    try:
        return not any(platform.sql(query) for query in queries)
    except psycopg.Error:
        return False


def until_quiet(platform: Chaotic, patience_s: float = PATIENCE_S) -> float | None:
    """Wait until every execution has ended and the pool has its size. Return the seconds, None if it never was."""
    begin = time.monotonic()
    while time.monotonic() < begin + patience_s:
        if has_no(platform, OPEN, POOL):
            return time.monotonic() - begin
        time.sleep(POLL_S)
    return None


def _watch_recovery(platform: Chaotic, load: Load, verdict: Verdict) -> None:
    """Take the times of the verdict, which stay None if PATIENCE_S passes first."""
    begin = time.monotonic()
    ended: int | None = None  # how many executions had ended when Postgres was first asked
    while verdict.back_s is None and (passed := time.monotonic() - begin) < PATIENCE_S:
        with suppress(psycopg.Error):
            now = platform.sql(ENDED)[0]["ended"]
            ended = now if ended is None else ended
            if verdict.served_s is None and now > ended:
                verdict.served_s = passed
            if verdict.ended_s is None and load.is_answered and not platform.sql(OPEN):
                verdict.ended_s = passed
            if verdict.ended_s is not None and not platform.sql(POOL):
                verdict.back_s = passed
        time.sleep(POLL_S)


def judge(platform: Chaotic, load: Load, receiver: Receiver, before: set[str], earlier: set[str]) -> Verdict:
    """`before`: the traces of the platform at rest. `earlier`: the executions of earlier faults."""
    verdict = Verdict()
    _watch_recovery(platform, load, verdict)
    load.wait()
    if load.given_up:
        verdict.broken.append(f"{len(load.given_up)} requests were never accepted: {load.given_up[0]}")
    if verdict.back_s is None or until_quiet(platform) is None:
        verdict.broken.append(f"not at rest within {PATIENCE_S} s")
        return verdict
    verdict.accepted = len(load.accepted)
    rows = {row["id"]: row for row in platform.sql(ENDS) if row["id"] not in earlier}
    for name, number in load.accepted.items():
        row = rows.pop(name, None)
        if row is not None:
            verdict.ends[f"{row['status']}: {row['outcome']}"] += 1
        if wrong := wrong_with(row, number):
            verdict.broken.append(f"execution {name}, accepted: {wrong}")
    verdict.broken += [f"execution {name}: no caller has its id" for name in rows]
    if twice := platform.sql(TWICE):
        verdict.broken.append(f"{len(twice)} ran twice")
    verdict.broken += unrecorded(load, {row["id"]: row["requests"] for row in platform.sql(RECORDED)})
    if not gets_out(platform, receiver):
        verdict.broken.append(f"no program gets outside within {OUT_S} s")
    _judge_callbacks(platform, load, receiver, verdict)
    _judge_traces(platform, before, verdict)
    return verdict


def wrong_with(row: dict[str, Any] | None, number: int) -> str:
    """Say why the end of an execution that was to return this number is not true; nothing if it is."""
    if row is None:
        return "there is no row"
    if row["status"] == "succeeded":
        returned = json.loads(row["result"] or "null")
        return "" if returned == number else f"returned {returned} instead of {number}"
    end = f"{row['status']}: {row['outcome']}"
    if row["status"] != "platform_error":
        return f"did no wrong, and ended as {end}"
    return "" if row["started"] else f"had not started, and ended as {end} instead of being queued again"


def unrecorded(load: Load, recorded: dict[str, int]) -> list[str]:
    """Say which visits to the outside have no row: each was to be recorded before it left."""
    visits = load.visits()
    allowed = {load.visitor(number): recorded.get(name, 0) for name, number in load.accepted.items()}
    return [
        f"{visits[who]} visits of {who}, {allowed.get(who, 0)} recorded"
        for who in sorted(visits)
        if visits[who] > allowed.get(who, 0)
    ]


def gets_out(platform: Chaotic, receiver: Receiver) -> bool:
    """Return whether programs get outside again, by the word of the server there."""
    until = time.monotonic() + OUT_S
    while platform.outside and time.monotonic() < until:
        visitor = Load(platform, receiver)
        visitor.send(1)
        visitor.wait()
        until_quiet(platform)
        if visitor.visits():
            return True
    return platform.outside is None


def _judge_callbacks(platform: Chaotic, load: Load, receiver: Receiver, verdict: Verdict) -> None:
    until = time.monotonic() + PATIENCE_S
    while not has_no(platform, UNTOLD) and time.monotonic() < until:
        time.sleep(POLL_S)
    for untold in sorted(load.accepted.keys() - receiver.told.keys()):
        verdict.broken.append(f"callback of {untold} never came: {platform.sql(DELIVERY, untold) or 'no row'}")


def _judge_traces(platform: Chaotic, before: set[str], verdict: Verdict) -> None:
    until = time.monotonic() + SWEPT_S
    while (more := traces(platform) - before) and time.monotonic() < until:
        time.sleep(1)
    verdict.broken += [f"left over: {one}" for one in sorted(more)]
