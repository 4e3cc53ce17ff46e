import threading
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from clients.admission import NeverFits, OverLimit, RuntimeNotAllowed, StorageFull
from clients.models import Client
from executions import figures as hourly
from executions.limits import LimitTooHigh
from executions.people import NotNow
from executions.places import TooManyLargePages, TooManyWaiting
from executions.submission import refuse_disabled
from runtimes.models import Runtime
from sandbox_platform.kit.errors import Conflicting, InvalidField
from sandbox_platform.kit.flushing import Flusher
from tests.usage.conftest import total
from usage import refusals
from usage.models import Refusal
from usage.refusals import Kind


def kind_of(*errors: Exception) -> Kind | None:
    """The kind of the first, whose cause is the second."""
    for error, cause in zip(errors, errors[1:], strict=False):
        error.__cause__ = cause
    return refusals.kind_of(errors[0])


def test_each_refusal_has_its_kind(alice: Client, python_runtime: Runtime) -> None:
    assert kind_of(OverLimit("max_runs_per_minute", 1, 1, timezone.now())) == Kind.RATE
    assert kind_of(OverLimit("max_runs_per_day", 1, 1, timezone.now())) == Kind.DAILY
    assert kind_of(OverLimit("max_open_executions", 1, 1, None)) == Kind.OPEN
    assert kind_of(StorageFull(1, 1)) == Kind.STORAGE
    assert kind_of(NeverFits("max_runs_per_day", 1, 2)) == Kind.BATCH
    assert kind_of(RuntimeNotAllowed(alice, python_runtime)) == Kind.RUNTIME_NOT_ALLOWED
    assert kind_of(TooManyWaiting()) == kind_of(TooManyLargePages()) == Kind.PLACES
    too_high = LimitTooHigh("wall_time_ms", 1, "the cap")
    assert kind_of(InvalidField("executions[0].limits", "x"), InvalidField("limits", "x"), too_high) == Kind.LIMIT
    assert kind_of(NotNow("x"), StorageFull(1, 1)) == Kind.STORAGE


def test_a_disabled_runtime_is_a_refusal(python_runtime: Runtime) -> None:
    python_runtime.enabled = False
    with pytest.raises(Conflicting) as refused:
        refuse_disabled(python_runtime)
    assert kind_of(refused.value) == Kind.RUNTIME_DISABLED


def test_a_mistake_of_the_caller_is_no_refusal() -> None:
    assert kind_of(InvalidField("code", "x")) is None
    assert kind_of(Conflicting("x", code="already_ended")) is None
    assert kind_of(ValueError()) is None


def test_a_thousand_refusals_are_one_statement(alice: Client) -> None:
    for _ in range(1000):
        refusals.count(Kind.RATE, alice.pk, 1)
    with CaptureQueriesContext(connection) as queries:
        assert refusals.flush() == 1000
    assert len(queries) == 1
    assert total(everybody=False, client_id=alice.pk).refused == {"rate": 1000}


def test_counts_of_several_processes_add_up(alice: Client) -> None:
    for _ in range(2):
        refusals.count(Kind.RATE, alice.pk)
        refusals.count(Kind.RATE)
        refusals.flush()
    assert {(row.client_id, row.count) for row in Refusal.objects.all()} == {(alice.pk, 2), (None, 2)}


def test_nothing_is_written_without_refusals(db: None) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert refusals.flush() == 0
    assert not queries.captured_queries


def test_what_cannot_be_written_is_kept(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals.count(Kind.DAILY, alice.pk)
    with monkeypatch.context() as broken:
        broken.setattr(refusals, "ADD", "SELECT nonsense %s %s %s %s %s")
        with connection.cursor() as cursor:
            cursor.execute("SAVEPOINT before")
        with pytest.raises(DatabaseError):
            refusals.flush()
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK TO SAVEPOINT before")
    refusals.count(Kind.DAILY, alice.pk)
    assert refusals.flush() == 2


def test_refusals_count_in_their_hour(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals.count(Kind.RATE, alice.pk)
    later = timezone.now() + timedelta(hours=1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    refusals.count(Kind.RATE, alice.pk)
    refusals.flush()
    hours = sorted(Refusal.objects.values_list("hour", flat=True))
    assert hours == [hourly.floor_hour(later) - timedelta(hours=1), hourly.floor_hour(later)]


def test_threads_lose_nothing(alice: Client) -> None:
    def refuse() -> None:
        for _ in range(500):
            refusals.count(Kind.OPEN, alice.pk)

    threads = [threading.Thread(target=refuse) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refusals.flush() == 2000


@pytest.mark.django_db(transaction=True)
def test_the_writer_writes_what_is_left_when_the_process_ends() -> None:
    refusals.count(Kind.RATE, 7)
    writer = Flusher("refusals", refusals.flush, refusals.FLUSH_S)
    writer.start()
    writer.stop()
    assert Refusal.objects.get().count == 1
