from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone
from django_q.models import OrmQ

from clients.models import Client
from executions import reaper, services
from executions.models import Execution, Outcome, Status
from tests.tasks import queued

MakeExecution = Callable[..., Execution]
LONG_AGO = timedelta(minutes=1)


@pytest.fixture
def waiting(make_execution: MakeExecution) -> Callable[..., Execution]:
    """Queued long ago, without a task."""

    def waiting(**fields: object) -> Execution:
        return make_execution(status=Status.QUEUED, enqueued_at=timezone.now() - LONG_AGO, **fields)

    return waiting


def tasks() -> list[tuple[str, int]]:
    """Name and client of each task in the queue."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT execution_id::text, client_id FROM django_q_ormq ORDER BY id")
        return cursor.fetchall()


def test_execution_without_a_task_gets_one_under_its_clients_name(waiting: Callable[..., Execution]) -> None:
    client = Client.objects.create(name="a")
    lost = waiting(client=client)
    assert reaper.requeue_orphans() == 1
    assert tasks() == [(str(lost.pk), client.pk)]
    assert queued() == [(services.RUN, (str(lost.pk),))]


def test_execution_that_waits_with_its_task_is_left_alone(waiting: Callable[..., Execution]) -> None:
    services.enqueue(waiting())
    assert reaper.requeue_orphans() == 0
    assert len(tasks()) == 1


def test_execution_that_was_queued_a_moment_ago_is_left_alone(make_execution: MakeExecution) -> None:
    # Its task may just be on its way into a worker's hands.
    make_execution(status=Status.QUEUED)
    assert reaper.requeue_orphans() == 0


def test_requeued_one_is_not_queued_again_at_once(waiting: Callable[..., Execution]) -> None:
    waiting()
    reaper.requeue_orphans()
    OrmQ.objects.all().delete()
    assert reaper.requeue_orphans() == 0


def test_long_queue_is_looked_through_by_postgres(
    waiting: Callable[..., Execution], django_assert_num_queries: Callable
) -> None:
    for _ in range(30):
        services.enqueue(waiting())
    OrmQ.objects.update(payload="not to be read")
    with django_assert_num_queries(1):
        assert reaper.requeue_orphans() == 0


def test_so_many_at_a_time(waiting: Callable[..., Execution], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "REQUEUE_AT_ONCE", 2)
    for _ in range(3):
        waiting()
    assert [reaper.requeue_orphans() for _ in range(3)] == [2, 1, 0]


def test_one_whose_task_waits_too_long_by_the_clock_of_postgres_is_ended(
    waiting: Callable[..., Execution],
) -> None:
    late, recent = waiting(), waiting()
    services.enqueue(late)
    services.enqueue(recent)
    limit = timedelta(milliseconds=settings.SANDBOX_QUEUE_TIMEOUT_MS)
    OrmQ.objects.filter(pk=OrmQ.objects.earliest("id").pk).update(lock=Now() - limit - timedelta(seconds=1))
    assert reaper.expire_queued() == 1
    late.refresh_from_db()
    recent.refresh_from_db()
    assert (late.outcome, recent.status) == (Outcome.QUEUE_TIMEOUT, Status.QUEUED)


def test_a_clock_that_jumps_ends_nothing_that_waits(make_execution: MakeExecution) -> None:
    """The web's clock was an hour behind when it took the run; now it is right again."""
    services.enqueue(make_execution(status=Status.QUEUED, queued_at=timezone.now() - timedelta(hours=1)))
    assert reaper.expire_queued() == 0
