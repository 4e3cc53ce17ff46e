"""kill -9 of every part in mid-run: each accepted execution ends, none runs twice, nothing leaks."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from sandbox_platform.kit.locks import Lock
from tests.live import STARTED, Platform, eventually

pytestmark = pytest.mark.needs_docker

# Longer than any part needs to die; the tests wait for its end, not for a time.
SLEEPS = "import time\ndef main(seconds):\n    time.sleep(seconds)\n    return 'slept'"
QUICK = "def main(): return 'quick'"
PROC = Path("/proc")
WORKERS = 8

# A row for each sandbox that was given to an execution and not taken back before it got the job. The executions' own
# rows could not tell a second run from the first.
WITNESS = """
    CREATE TABLE witness (execution_id uuid, at timestamptz DEFAULT clock_timestamp());
    CREATE FUNCTION witness_claimed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO witness VALUES (NEW.execution_id); RETURN NEW; END $$;
    CREATE TRIGGER witness_claimed AFTER UPDATE ON executions_sandbox FOR EACH ROW
        WHEN (NEW.state = 'claimed' AND OLD.state <> 'claimed') EXECUTE FUNCTION witness_claimed();
    CREATE FUNCTION witness_given_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        DELETE FROM witness WHERE execution_id = OLD.execution_id; RETURN NEW; END $$;
    CREATE TRIGGER witness_given_back AFTER UPDATE ON executions_sandbox FOR EACH ROW
        WHEN (OLD.state = 'claimed' AND NEW.execution_id IS NULL) EXECUTE FUNCTION witness_given_back();
"""


class Survivor:
    """A platform to be broken again and again, and mended in between."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self._callers = ThreadPoolExecutor(16)

    def kill(self, name: str) -> None:
        self.platform.kill(name)

    def kill_postgres(self, *, all_of_it: bool = True) -> None:
        """The whole server, or one of its sessions, which makes it drop all others too."""
        postmaster = self.platform.postgres.process
        assert postmaster
        if not all_of_it:
            os.kill(self.platform.sql("SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'")[0]["pid"], 9)
        else:
            # Its children have sessions of their own, and while one lives, Postgres does not start again.
            everybody = [postmaster.pid, *descendants(postmaster.pid)]
            for pid in everybody:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            postmaster.wait()
            eventually(lambda: not any((PROC / str(pid)).exists() for pid in everybody), "all are gone")

    def mend(self) -> None:
        postgres = self.platform.postgres.process
        if postgres is None or postgres.poll() is not None:
            self.platform.postgres.start()
        for name in STARTED:
            process = self.platform.processes.get(name)
            if process is None or process.poll() is not None:
                self.platform.spawn(name)
        self.platform.until_ready()

    def call(self, code: str, **arguments: Any) -> "Future[dict[str, Any]]":
        """POST /run, in the background."""
        return self._callers.submit(self.platform.run, code, arguments=arguments)

    def expect_quick(self, number: int) -> None:
        """So many calls at the same time are all answered."""
        answers = [future.result(120) for future in [self.call(QUICK) for _ in range(number)]]
        assert [answer for answer in answers if answer["status"] != "success"] == []

    def call_and_wait_until_it_runs(self, seconds: float) -> "tuple[Future[dict[str, Any]], str]":
        answer = self.call(SLEEPS, seconds=seconds)

        def handed_over() -> str | None:
            rows = self.platform.sql(
                "SELECT e.id FROM executions_execution e JOIN executions_sandbox s ON s.execution_id = e.id"
                " WHERE e.status = 'running' AND s.state = 'claimed'"
            )
            return str(rows[0]["id"]) if rows else None

        execution = eventually(handed_over, "it runs")
        time.sleep(0.5)  # the job is on its way into the sandbox
        return answer, execution

    def flush(self) -> None:
        # The test's Postgres commits asynchronously: what is to survive a kill has to be written.
        self.platform.sql("CHECKPOINT")

    def execution(self, execution_id: str) -> dict[str, Any]:
        return self.platform.sql("SELECT * FROM executions_execution WHERE id = %s", execution_id)[0]

    def until_finished(self, execution_id: str, seconds: float = 90) -> dict[str, Any]:
        def finished() -> dict[str, Any] | None:
            try:
                row = self.execution(execution_id)
            except psycopg.OperationalError:
                return None
            return row if row["finished_at"] else None

        return dict(eventually(finished, "the execution has ended", seconds))

    def assert_nothing_is_left(self) -> None:
        """Every execution has ended, none ran twice, and every container is a warm one with its row."""
        eventually(
            lambda: not self.platform.sql("SELECT 1 FROM executions_execution WHERE finished_at IS NULL"),
            "every execution has ended",
        )
        twice = self.platform.sql("SELECT execution_id FROM witness GROUP BY execution_id HAVING count(*) > 1")
        assert not twice

        def accounted_for() -> bool:
            rows = self.platform.sql("SELECT container_id, state FROM executions_sandbox")
            sandboxes = self.platform.sandboxes()
            return {row["state"] for row in rows} <= {"ready"} and {r["container_id"] for r in rows} == sandboxes

        eventually(accounted_for, "every container is a warm sandbox", 150)


@pytest.fixture(scope="module")
def module_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = Platform(tmp_path_factory.mktemp("resilience"), SANDBOX_TIMEOUT="30s", SANDBOX_WORKERS=str(WORKERS))
    try:
        running.start("python")
        running.sql(WITNESS)
        yield running
    finally:
        node_is_empty_after(running)


def node_is_empty_after(platform: Platform) -> None:
    platform.stop()
    assert platform.containers() == []
    assert not platform.sandboxes()


@pytest.fixture
def survivor(module_platform: Platform) -> Iterator[Survivor]:
    it = Survivor(module_platform)
    it.mend()
    yield it
    it.mend()
    it.assert_nothing_is_left()


# -- the worker ---------------------------------------------------------------------------------------------


def test_killed_worker_ends_its_execution_as_a_platform_error(survivor: Survivor) -> None:
    answer, execution = survivor.call_and_wait_until_it_runs(seconds=20)
    survivor.kill("worker")
    row = survivor.until_finished(execution)
    assert (row["status"], row["outcome"], row["started"]) == ("platform_error", "worker_lost", True)
    assert answer.result(60)["stderr"]


def test_killed_worker_is_replaced_by_another_that_serves_who_comes(survivor: Survivor) -> None:
    _, execution = survivor.call_and_wait_until_it_runs(seconds=20)
    survivor.kill("worker")
    queued = survivor.call(QUICK)
    survivor.platform.spawn("worker")
    assert queued.result(90)["result"]["value"] == "quick"
    survivor.until_finished(execution)


def busy_worker(survivor: Survivor, execution: str) -> int:
    """The process that holds the execution: its Postgres session leads to it."""
    port = survivor.platform.sql(
        "SELECT a.client_port FROM executions_execution e JOIN pg_stat_activity a ON a.pid = e.worker_backend"
        " WHERE e.id = %s",
        execution,
    )[0]["client_port"]
    for pid in descendants(survivor.platform.processes["worker"].pid):
        if port in local_ports(pid):
            return pid
    raise AssertionError(f"no worker process has port {port}")


def local_ports(pid: int) -> set[int]:
    inodes = set()
    with contextlib.suppress(FileNotFoundError):  # a short one that has ended, such as runsc
        for fd in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                inodes.add(os.readlink(fd).removeprefix("socket:[").removesuffix("]"))
    connections = [line.split() for line in (PROC / "net/tcp").read_text().splitlines()[1:]]
    return {int(c[1].split(":")[1], 16) for c in connections if c[9] in inodes}


def descendants(root: int) -> list[int]:
    found = [root]
    for pid in found:
        with contextlib.suppress(OSError):  # it ends meanwhile
            for task in PROC.glob(f"{pid}/task/*/children"):
                found += map(int, task.read_text().split())
    return found[1:]


def test_killed_process_of_the_cluster_ends_only_its_own_execution(survivor: Survivor) -> None:
    answer, execution = survivor.call_and_wait_until_it_runs(seconds=20)
    os.kill(busy_worker(survivor, execution), signal.SIGKILL)
    row = survivor.until_finished(execution)
    assert (row["status"], row["outcome"]) == ("platform_error", "worker_lost")
    assert answer.result(60)["stderr"]
    assert survivor.call(QUICK).result(90)["result"]["value"] == "quick"


def test_killed_idle_processes_of_the_cluster_do_not_stop_it(survivor: Survivor) -> None:
    # One of them holds the lock of the cluster's own queue while it waits there.
    cluster = survivor.platform.processes["worker"].pid
    sentinel = descendants(cluster)[0]
    for pid in descendants(sentinel):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    survivor.expect_quick(4)


def test_killed_pusher_leaves_every_worker_in_use(survivor: Survivor) -> None:
    # While nothing is queued, it holds one of them ready for the next task.
    listening = "SELECT client_port FROM pg_stat_activity WHERE query = 'LISTEN execution_queued'"
    holding = (
        "SELECT a.client_port FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        f" WHERE l.classid = {Lock.WORKER:d}"
    )
    ports = {row["client_port"] for row in survivor.platform.sql(f"{listening} UNION {holding}")}
    killed = [pid for pid in descendants(survivor.platform.processes["worker"].pid) if ports & local_ports(pid)]
    assert len(killed) == 1
    os.kill(killed[0], signal.SIGKILL)
    answers = [survivor.call(SLEEPS, seconds=15) for _ in range(WORKERS)]
    running = "SELECT count(*) FROM executions_execution WHERE status = 'running'"
    eventually(lambda: survivor.platform.sql(running)[0]["count"] == WORKERS, "all run at the same time")
    assert {answer.result(90)["status"] for answer in answers} == {"success"}


# -- the keeper ---------------------------------------------------------------------------------------------


def test_killed_keeper_does_not_disturb_a_run(survivor: Survivor) -> None:
    answer, _ = survivor.call_and_wait_until_it_runs(seconds=3)
    survivor.kill("keeper")
    assert answer.result(60)["result"]["value"] == "slept"


def test_worker_starts_sandboxes_itself_while_no_keeper_is_alive(survivor: Survivor) -> None:
    survivor.kill("keeper")
    survivor.expect_quick(3)


def test_new_keeper_takes_over_what_the_killed_one_left(survivor: Survivor) -> None:
    survivor.kill("keeper")
    survivor.call(QUICK).result(90)
    used = survivor.platform.sql("SELECT container_id FROM executions_sandbox WHERE state = 'used'")
    assert used
    survivor.platform.spawn("keeper")
    survivor.platform.until_ready()
    gone = {row["container_id"] for row in used}
    eventually(lambda: not gone & survivor.platform.sandboxes(), "the used one is removed")


# -- Postgres -----------------------------------------------------------------------------------------------


def test_killed_postgres_loses_no_result_of_a_run_in_hand(survivor: Survivor) -> None:
    answer, execution = survivor.call_and_wait_until_it_runs(seconds=4)
    survivor.flush()
    survivor.kill_postgres()
    time.sleep(5)  # the program ends meanwhile, and its result waits for a place to be stored
    survivor.platform.postgres.start()
    row = survivor.until_finished(execution)
    assert (row["status"], row["result"]) == ("succeeded", '"slept"')
    assert answer.result(60)["result"]["value"] == "slept"


def test_crash_of_one_postgres_session_loses_no_result_of_a_run_in_hand(survivor: Survivor) -> None:
    answer, execution = survivor.call_and_wait_until_it_runs(seconds=6)
    survivor.flush()
    survivor.kill_postgres(all_of_it=False)
    row = survivor.until_finished(execution)
    assert (row["status"], row["result"]) == ("succeeded", '"slept"')
    assert answer.result(60)["result"]["value"] == "slept"


def test_killed_postgres_loses_no_answer_to_who_comes_right_after(survivor: Survivor) -> None:
    survivor.flush()
    survivor.kill_postgres()
    survivor.platform.postgres.start()
    survivor.expect_quick(8)


# -- the web process ----------------------------------------------------------------------------------------


def test_killed_web_process_does_not_end_the_run(survivor: Survivor) -> None:
    answer, execution = survivor.call_and_wait_until_it_runs(seconds=3)
    survivor.kill("web")
    row = survivor.until_finished(execution)
    assert (row["status"], row["result"]) == ("succeeded", '"slept"')
    assert isinstance(answer.exception(60), requests.ConnectionError)


# -- the queue ----------------------------------------------------------------------------------------------


def test_what_was_queued_while_no_worker_ran_is_served_when_one_starts(survivor: Survivor) -> None:
    survivor.kill("worker")
    answer = survivor.call(QUICK)
    eventually(lambda: survivor.platform.sql("SELECT 1 FROM django_q_ormq"), "the task is queued")
    survivor.platform.spawn("worker")
    assert answer.result(90)["result"]["value"] == "quick"


def test_execution_whose_task_was_lost_is_queued_again(survivor: Survivor) -> None:
    survivor.kill("worker")
    answer = survivor.call(QUICK)
    eventually(lambda: survivor.platform.sql("DELETE FROM django_q_ormq RETURNING id"), "the task is lost")
    survivor.platform.spawn("worker")
    assert answer.result(90)["result"]["value"] == "quick"


def test_execution_that_no_worker_took_in_time_is_cancelled(survivor: Survivor) -> None:
    survivor.kill("worker")
    answer = survivor.call(QUICK)
    eventually(
        lambda: survivor.platform.sql("UPDATE django_q_ormq SET lock = lock - interval '11 minutes' RETURNING id"),
        "it has waited for long",
    )
    body = answer.result(60)
    assert body["stderr"]
    row = survivor.platform.last_execution()
    assert (row["status"], row["outcome"]) == ("cancelled", "queue_timeout")
