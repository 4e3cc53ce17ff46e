"""Faults of the platform lose no run whose program has not started, and everything goes on when the parts return."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.executions.test_resilience import QUICK, Survivor, module_platform, survivor
from tests.live import Platform, eventually
from tests.scheduling import FIGURE

__all__ = ["module_platform", "survivor"]
pytestmark = pytest.mark.needs_docker

BURST = 24
# The aim is 30 s on a machine of its own. Tests share theirs.
BACK_S = 300
OPEN = "SELECT id FROM executions_execution WHERE finished_at IS NULL"
# Neither done nor lost with a program that may have run in part.
LOST = """
    SELECT id, status, outcome, started, requeues FROM executions_execution
    WHERE NOT (status = 'succeeded' OR status = 'platform_error' AND outcome = 'worker_lost' AND started)
"""


@contextmanager
def no_sandboxes(survivor: Survivor) -> Iterator[None]:
    """Stop the keeper, alive as it seems, and leave it nothing to hand out."""
    keeper = survivor.platform.processes["keeper"]
    os.killpg(keeper.pid, signal.SIGSTOP)
    try:
        survivor.platform.sql("UPDATE executions_sandbox SET state = 'used' WHERE state = 'ready'")
        yield
    finally:
        if keeper.poll() is None:
            os.killpg(keeper.pid, signal.SIGCONT)


def call_and_wait_until_it_is_taken(survivor: Survivor) -> "tuple[Future[dict[str, Any]], str]":
    answer = survivor.call(QUICK)
    waiting = "SELECT e.id FROM executions_execution e JOIN sandboxes_wait w ON w.execution_id = e.id"
    rows = eventually(lambda: survivor.platform.sql(waiting), "it waits for a sandbox")
    return answer, str(rows[0]["id"])


def assert_ran_at_the_second_attempt(survivor: Survivor, answer: "Future[dict[str, Any]]", execution: str) -> None:
    assert answer.result(120)["result"]["value"] == "quick"
    row = survivor.execution(execution)
    assert (row["status"], row["requeues"], row["started"]) == ("succeeded", 1, True)


def test_run_without_a_sandbox_outlives_its_worker(survivor: Survivor) -> None:
    with no_sandboxes(survivor):
        answer, execution = call_and_wait_until_it_is_taken(survivor)
        survivor.kill("worker")
        survivor.platform.spawn("worker")
    assert_ran_at_the_second_attempt(survivor, answer, execution)


def test_run_without_a_sandbox_outlives_a_stop_of_postgres(survivor: Survivor) -> None:
    with no_sandboxes(survivor):
        answer, execution = call_and_wait_until_it_is_taken(survivor)
        survivor.flush()
        survivor.platform.postgres.stop()
        survivor.platform.postgres.start()
    assert_ran_at_the_second_attempt(survivor, answer, execution)


@pytest.fixture
def other_node(survivor: Survivor, tmp_path: Path) -> Iterator[Platform]:
    """Another node on the same Postgres. Its parts are started by the test."""
    other = Platform(tmp_path)
    other.postgres = survivor.platform.postgres
    yield other
    for name in list(other.processes):
        other.kill(name)
    for container in other.containers():
        container.remove(force=True)
    survivor.platform.sql("DELETE FROM executions_sandbox WHERE node = %s", other.node)


def test_run_without_a_sandbox_outlives_its_node(survivor: Survivor, other_node: Platform) -> None:
    with no_sandboxes(survivor):
        answer, execution = call_and_wait_until_it_is_taken(survivor)
        survivor.kill("worker")
        survivor.kill("keeper")
        for name in ("worker", "keeper"):
            other_node.spawn(name)
        assert_ran_at_the_second_attempt(survivor, answer, execution)
        assert survivor.execution(execution)["node"] == other_node.node


def send(survivor: Survivor, number: int) -> "list[Future[dict[str, Any]]]":
    already = survivor.platform.sql("SELECT count(*) FROM executions_execution")[0]["count"]
    answers = [survivor.call(QUICK) for _ in range(number)]
    rows = "SELECT count(*) FROM executions_execution WHERE finished_at IS NOT NULL"
    eventually(lambda: survivor.platform.sql(rows)[0]["count"] >= already + 3, "the burst is under way")
    return answers


def until_all_have_ended(survivor: Survivor, seconds: float = BACK_S) -> None:
    def ended() -> bool:
        try:
            return not survivor.platform.sql(OPEN)
        except psycopg.OperationalError:
            return False

    eventually(ended, "every execution has ended", seconds)


@pytest.mark.parametrize("fault", ["worker", "postgres stopped", "postgres killed"])
def test_fault_amid_a_burst_loses_only_what_may_have_started(survivor: Survivor, fault: str) -> None:
    send(survivor, BURST)
    if fault == "worker":
        survivor.kill("worker")
        survivor.platform.spawn("worker")
    elif fault == "postgres stopped":
        survivor.platform.postgres.stop()
        survivor.platform.postgres.start()
    else:
        survivor.flush()
        survivor.kill_postgres()
        survivor.platform.postgres.start()
    until_all_have_ended(survivor)
    assert survivor.platform.sql(LOST) == []


def test_everything_goes_on_after_worker_keeper_and_postgres_were_killed_together(
    survivor: Survivor, record_property: Any
) -> None:
    send(survivor, BURST)
    survivor.flush()
    for name in ("worker", "keeper"):
        survivor.kill(name)
    survivor.kill_postgres()
    survivor.platform.postgres.start()
    begin = time.monotonic()
    for name in ("worker", "keeper"):
        survivor.platform.spawn(name)
    until_all_have_ended(survivor)
    sizes = (
        "SELECT r.pool_min, count(s.id) FROM runtimes_runtime r LEFT JOIN executions_sandbox s"
        " ON s.runtime_id = r.id AND s.state = 'ready' WHERE r.enabled GROUP BY r.id HAVING count(s.id) < r.pool_min"
    )
    eventually(lambda: not survivor.platform.sql(sizes), "the pool has its size again", BACK_S)
    record_property(FIGURE, f"all was done {time.monotonic() - begin:.0f} s after the return of all parts")
    assert survivor.platform.sql(LOST) == []
