"""The one thread of a process that hears of ends: nothing ends it for good, and it is what wakes who waits."""

import os
import select
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from executions import services, waiting
from executions.models import Execution, Outcome, Status
from executions.verdict import Verdict
from executions.waiting import GaveUp
from sandbox_platform.kit.notify import FINISHED, Listener, Notification, notify
from tests.api.v1.test_events import StoppableHub
from tests.live import eventually

pytestmark = pytest.mark.django_db(transaction=True)
# Only a notification ends a wait sooner.
PATIENCE_S = 60.0
DONE = Verdict(Status.SUCCEEDED, Outcome.COMPLETED, exit_code=0)


@pytest.fixture
def hub(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoppableHub]:
    it = StoppableHub()
    monkeypatch.setattr(waiting, "LOOK_AGAIN_S", 600.0)
    yield it
    it.stop()


def is_woken(event: int, by: Callable[[], Any]) -> bool:
    """Whether `by` makes the event readable. What woke it before does not count."""
    if select.select([event], [], [], 0)[0]:
        os.eventfd_read(event)
    by()
    return bool(select.select([event], [], [], PATIENCE_S)[0])


def test_an_end_wakes_who_waits_for_it(hub: StoppableHub, make_execution: Callable[..., Execution]) -> None:
    execution = make_execution(status=Status.QUEUED)
    with hub.waiter(execution.pk) as waiter:
        threading.Timer(0.1, lambda: services.finish(execution.pk, DONE)).start()
        found = waiter.wait(timeout_s=PATIENCE_S)
    assert not isinstance(found, GaveUp)
    assert found.status == Status.SUCCEEDED


def test_a_thread_that_has_ended_is_started_again(hub: StoppableHub) -> None:
    execution_id = uuid.uuid4()
    with hub.event([execution_id], FINISHED):
        hub.stop()
    with hub.event([execution_id], FINISHED) as event:
        assert is_woken(event, lambda: notify(FINISHED, str(execution_id)))


def test_who_waited_for_the_ended_thread_is_woken_by_the_next(hub: StoppableHub) -> None:
    execution_id = uuid.uuid4()
    with hub.event([execution_id], FINISHED) as event:
        hub.stop()
        with hub.event([uuid.uuid4()], FINISHED):
            assert is_woken(event, lambda: notify(FINISHED, str(execution_id)))


def test_an_unexpected_error_is_logged_without_its_text_and_the_thread_goes_on(
    hub: StoppableHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, program = Listener.wait, "print('a stranger')"

    def breaks_once(listener: Listener, timeout: float) -> list[Notification]:
        monkeypatch.setattr(Listener, "wait", real)
        raise ValueError(program)

    monkeypatch.setattr(Listener, "wait", breaks_once)
    execution_id = uuid.uuid4()
    with hub.event([execution_id], FINISHED) as event:
        thread = hub._thread
        eventually(lambda: caplog.records, "the error is logged", 30)
        eventually(is_listening, "it listens again", 30)
        assert is_woken(event, lambda: notify(FINISHED, str(execution_id)))
        assert hub._thread is thread
    assert "ValueError" in caplog.text
    assert "stranger" not in caplog.text


def test_who_waits_looks_once_the_connection_is_back(hub: StoppableHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent meanwhile is lost."""
    back = threading.Event()
    sleep = time.sleep
    monkeypatch.setattr(
        time, "sleep", lambda s: back.wait(PATIENCE_S) if threading.current_thread() is hub._thread else sleep(s)
    )
    with hub.event([uuid.uuid4()], FINISHED) as event:
        assert is_woken(event, break_listeners)
        assert is_woken(event, back.set)


LISTENERS = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN execution_%%'"


def is_listening() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) {LISTENERS}")
        return bool(cursor.fetchone()[0])


def break_listeners() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_terminate_backend(pid) {LISTENERS}")


def test_a_broken_connection_is_made_again(hub: StoppableHub) -> None:
    execution_id = uuid.uuid4()
    with hub.event([execution_id], FINISHED) as event:
        assert is_woken(event, break_listeners)
        eventually(is_listening, "it listens again", 30)
        assert is_woken(event, lambda: notify(FINISHED, str(execution_id)))
