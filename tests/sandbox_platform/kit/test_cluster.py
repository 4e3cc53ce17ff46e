import time
from collections.abc import Callable
from multiprocessing import Process, Queue
from queue import Empty
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, connection

from sandbox_platform.kit import tasks
from sandbox_platform.kit.broker import RUNS
from sandbox_platform.kit.cluster import HandOver, run_task
from sandbox_platform.kit.tasks import Task, payload_of
from sandboxes.docker_engine import START_TIMEOUT_S
from sandboxes.session import WORKING_TIMEOUT_S


@pytest.fixture
def handover() -> HandOver:
    return HandOver()


def worker(tasks: HandOver, results: "Queue[str]") -> None:
    for task in iter(tasks.get, "STOP"):
        results.put(task)


def test_no_worker_no_reservation(handover: HandOver) -> None:
    assert not handover.reserve(0)


def test_each_waiting_worker_is_reserved_once(handover: HandOver) -> None:
    results: Queue[str] = Queue()
    workers = [Process(target=worker, args=(handover, results), daemon=True) for _ in range(2)]
    for process in workers:
        process.start()
    assert [handover.reserve(60), handover.reserve(60), handover.reserve(0.2)] == [True, True, False]
    for process in workers:
        process.kill()
        process.join()


def test_worker_asks_again_only_after_its_task(handover: HandOver) -> None:
    results: Queue[str] = Queue()
    process = Process(target=worker, args=(handover, results), daemon=True)
    process.start()
    for task in ("1", "2", "3"):
        assert handover.reserve(60)
        handover.put(task)
        assert results.get(timeout=60) == task
    handover.put("STOP")
    process.join(60)
    assert process.exitcode == 0
    with pytest.raises(Empty):
        results.get(timeout=0.1)


def test_dead_pushers_reservation_is_given_back(handover: HandOver) -> None:
    handover.give_back()
    assert handover.reserve(0)
    handover.pusher_died()
    assert handover.reserve(0)


def test_dead_pusher_without_a_reservation_gives_nothing_back(handover: HandOver) -> None:
    handover.give_back()
    assert handover.reserve(0)
    handover.put("1")
    handover.pusher_died()
    assert not handover.reserve(0)


# -- what a worker does with a row --


@pytest.fixture
def failed(db: None) -> Callable[[], list[dict[str, Any]]]:
    def rows() -> list[dict[str, Any]]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT func, name, args, result, cluster, success FROM django_q_task")
            return [
                dict(zip(("task", "subject", "arguments", "error", "queue", "success"), row, strict=True))
                for row in cursor
            ]

    return rows


def a_task(monkeypatch: pytest.MonkeyPatch, function: str, queue: str = RUNS) -> Task:
    monkeypatch.setattr(tasks, "_declared", dict(tasks._declared))
    return Task("trial", f"{__name__}.{function}", senders=[], queue=queue)


CALLS: list[Any] = []
QUOTED = "Failing row contains (print(1))"


def note(*arguments: Any) -> None:
    CALLS.append(arguments)


def fail(*arguments: Any) -> None:
    raise LookupError("no such\0thing")


def fail_in_the_database(*arguments: Any) -> None:
    raise IntegrityError(QUOTED)


def never_end(*arguments: Any) -> None:
    time.sleep(60)


def test_task_gets_its_arguments(monkeypatch: pytest.MonkeyPatch, failed: Callable[[], Any]) -> None:
    CALLS.clear()
    assert run_task(payload_of(a_task(monkeypatch, "note"), 3, "x"), RUNS)
    assert CALLS == [(3, "x")]
    assert failed() == []


def test_failed_task_is_stored_with_its_reason_first(
    monkeypatch: pytest.MonkeyPatch, failed: Callable[[], Any]
) -> None:
    assert run_task(payload_of(a_task(monkeypatch, "fail"), 3), RUNS)
    (row,) = failed()
    assert row["error"].startswith("LookupError: no such\ufffdthing\n  File ")
    assert row | {"error": ""} == {
        "task": "trial", "subject": "3", "arguments": "[3]", "error": "", "queue": RUNS, "success": False,
    }  # fmt: skip


def test_row_that_the_database_quotes_is_not_stored(
    monkeypatch: pytest.MonkeyPatch, failed: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    run_task(payload_of(a_task(monkeypatch, "fail_in_the_database")), RUNS)
    (row,) = failed()
    assert row["error"].startswith("IntegrityError\n")
    assert QUOTED not in row["error"] + caplog.text


def test_row_that_names_no_task_is_a_failed_task(failed: Callable[[], Any]) -> None:
    assert run_task("gASVDgAAAAAAAACMCmJ1aWx0aW5z", RUNS)
    assert [(row["task"], row["arguments"]) for row in failed()] == [("unreadable", "[]")]


def test_task_of_another_queue_is_not_run(monkeypatch: pytest.MonkeyPatch, failed: Callable[[], Any]) -> None:
    CALLS.clear()
    run_task(payload_of(a_task(monkeypatch, "note", queue="callbacks")), RUNS)
    assert CALLS == []
    assert "is not for the queue" in failed()[0]["error"]


def test_overdue_task_ends_its_worker(monkeypatch: pytest.MonkeyPatch, failed: Callable[[], Any]) -> None:
    monkeypatch.setattr("sandbox_platform.kit.cluster.Conf.TIMEOUT", 1)
    assert not run_task(payload_of(a_task(monkeypatch, "never_end")), RUNS)
    assert "exceeded maximum timeout" in failed()[0]["error"]


def test_a_task_may_take_the_longest_start_and_the_longest_run() -> None:
    longest = START_TIMEOUT_S + WORKING_TIMEOUT_S + settings.LONGEST_RUN_S
    assert longest + 60 < settings.Q_CLUSTER["timeout"] < settings.Q_CLUSTER["retry"]
