from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit import purging, sealing
from audit.models import RetentionPolicy
from clients.models import Client, ClientStorage, StorageChange
from executions import figures as hourly
from executions.egress.models import EgressRequest
from executions.models import Execution, Status
from tests.usage.conftest import GIB, LONG_AGO, NOW, Ran, total
from usage import figures, rollup
from usage.models import Counted, DailyUsage, HourlyUsage, StoredSample


def quantities() -> tuple[int, ...]:
    row = total()
    return row.runs, row.rejected, row.cpu_ms, row.memory_byte_seconds, row.egress_bytes


@pytest.fixture
def history(ran: Ran) -> None:
    for hours in (0, 1, 30):
        ran(LONG_AGO + timedelta(hours=hours))
    ran(status=Status.REJECTED, outcome="code_policy", started_at=None, ended_at=None, cpu_ms=None)


def test_counted_hours_and_the_youngest_are_all(history: None) -> None:
    assert rollup.roll_up() > 0
    assert quantities() == (4, 1, 1500, 6 * GIB, 0)
    # The youngest hour is counted, too, once it is over.
    assert HourlyUsage.objects.filter(hour__lt=NOW - timedelta(days=1)).count() == 3


def test_nothing_is_counted_twice(history: None) -> None:
    rollup.roll_up()
    assert rollup.roll_up() == 0
    assert quantities()[0] == 4


def test_full_days_are_read_as_sums(history: None) -> None:
    rollup.roll_up()
    before = quantities()
    days = Counted.objects.get().days_up_to
    HourlyUsage.objects.filter(hour__gte=hourly.floor_day(LONG_AGO), hour__lt=days).delete()
    assert quantities() == before
    assert sum(DailyUsage.objects.values_list("runs", flat=True)) == 3


@pytest.mark.parametrize("hours", [0, 1, 2, 24, 30, 31])
def test_hours_before_and_after_full_days_are_counted(history: None, hours: int) -> None:
    rollup.roll_up()
    since = LONG_AGO + timedelta(hours=hours)
    row = figures.total(figures.Scope(since, NOW - timedelta(days=10)))
    assert row.runs == sum(hours <= each for each in (0, 1, 30))
    row = figures.total(figures.Scope(NOW - timedelta(days=25), since))
    assert row.runs == sum(each < hours for each in (0, 1, 30))


def test_hours_that_were_counted_before_there_were_days(history: None) -> None:
    """As after an upgrade: until the days are summed, the hours are read."""
    rollup.roll_up()
    before = quantities()
    DailyUsage.objects.all().delete()
    Counted.objects.update(days_up_to=None)
    assert quantities() == before
    rollup.roll_up()
    assert quantities() == before
    assert sum(DailyUsage.objects.values_list("runs", flat=True)) == 3


def test_a_run_that_has_not_ended_is_counted_at_its_end(ran: Ran) -> None:
    running = ran(LONG_AGO, status=Status.RUNNING, outcome="", finished_at=None, ended_at=None, cpu_ms=None)
    rollup.roll_up()
    assert quantities()[0] == 0
    Execution.objects.filter(pk=running.pk).update(
        status=Status.SUCCEEDED, outcome="completed", ended_at=LONG_AGO, finished_at=NOW, cpu_ms=700
    )
    rollup.roll_up()
    assert quantities()[:3] == (1, 0, 700)


def test_memory_that_was_not_measured_is_the_limit(ran: Ran) -> None:
    ran(LONG_AGO, peak_memory_bytes=None, limits={"memory_bytes": GIB // 2})
    rollup.roll_up()
    assert quantities()[3] == GIB


def test_egress_is_what_its_requests_sent_and_received(ran: Ran) -> None:
    execution = ran(LONG_AGO, network="egress")
    request = {"execution": execution, "at": LONG_AGO, "method": "GET", "host": "h", "port": 80, "allowed": True}
    EgressRequest.objects.create(**request, bytes_sent=5, bytes_received=100)
    EgressRequest.objects.create(**request, bytes_sent=7)
    ran(LONG_AGO)
    ran(network="egress")
    rollup.roll_up()
    assert quantities()[4] == 112


def purge(client: Client) -> None:
    RetentionPolicy.objects.create(client=client, keep_metadata_days=0)
    sealing.seal()
    assert sum(record.count for record in purging.purge())


def test_usage_outlives_the_executions(history: None, alice: Client) -> None:
    rollup.roll_up()
    before = quantities()
    purge(alice)
    assert not Execution.objects.filter(queued_at__lt=NOW - timedelta(hours=1)).exists()
    assert quantities() == before


def test_a_purge_before_the_count_loses_nothing(history: None, alice: Client) -> None:
    purge(alice)
    assert quantities() == (4, 1, 1500, 6 * GIB, 0)
    rollup.roll_up()
    assert quantities() == (4, 1, 1500, 6 * GIB, 0)


def test_a_purge_of_an_uncounted_hour_is_not_counted_again(ran: Ran, alice: Client) -> None:
    # An open execution keeps the hours after it from being counted.
    open_one = ran(LONG_AGO, status=Status.RUNNING, outcome="", finished_at=None, ended_at=None)
    ran(LONG_AGO + timedelta(minutes=5))
    ran(LONG_AGO + timedelta(hours=3))
    rollup.roll_up()
    purge(alice)
    assert quantities()[0] == 2
    Execution.objects.filter(pk=open_one.pk).update(
        status=Status.CANCELLED, outcome="caller_gone", finished_at=NOW
    )
    rollup.roll_up()
    assert quantities()[0] == 3


def test_what_is_counted_is_not_read_again(history: None) -> None:
    rollup.roll_up()
    with CaptureQueriesContext(connection) as queries:
        total()
    live = next(query["sql"] for query in queries if "FROM executions_execution e" in query["sql"])
    assert f"e.queued_at >= '{Counted.objects.get().up_to:%Y-%m-%d %H:%M:%S}" in live


def test_a_long_history_is_counted_in_steps(history: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hourly, "STEP", timedelta(hours=2))
    rollup.roll_up()
    assert quantities()[0] == 4


def test_what_is_stored_is_sampled_once_an_hour(alice: Client) -> None:
    ClientStorage.objects.create(client=alice, bytes=100)
    StorageChange.objects.create(client_id=alice.pk, bytes=20)
    rollup.roll_up()
    StorageChange.objects.create(client_id=alice.pk, bytes=1000)
    rollup.roll_up()
    (sample,) = StoredSample.objects.all()
    assert (sample.client_id, sample.bytes) == (alice.pk, 120)
    assert total().stored_bytes == total().stored_byte_hours == 120


def test_while_much_waits_to_be_counted_only_two_days_are_read(history: None) -> None:
    assert rollup.is_behind()
    assert quantities()[0] == 1
    rollup.roll_up()
    assert not rollup.is_behind()


def test_no_history_is_no_failure(db: None) -> None:
    assert rollup.roll_up() == 0
    assert quantities() == (0, 0, 0, 0, 0)
    assert not rollup.is_behind()
