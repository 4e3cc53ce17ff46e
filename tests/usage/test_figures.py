from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from clients.models import Client
from executions.models import Status
from runtimes.models import Runtime
from tests.usage.conftest import GIB, LONG_AGO, NOW, Ran, scope, total
from usage import figures, refusals, rollup
from usage.models import HourlyUsage, Price, StoredSample
from usage.models.price import today
from usage.refusals import Kind

DAY = datetime(2026, 3, 10, tzinfo=UTC)


def used(at: datetime, client: Client | None = None, runtime: int = 1, **quantities: int) -> None:
    zero = dict.fromkeys(("runs", "rejected", "cpu_ms", "memory_byte_seconds", "egress_bytes"), 0)
    HourlyUsage.objects.create(
        hour=at, client_id=client.pk if client else None, runtime_id=runtime, **zero | quantities
    )


def of(days: int, *groups: str, **whose: object) -> list[figures.Row]:
    return figures.rows(figures.Scope(DAY, DAY + timedelta(days=days), **whose), groups)


def test_days_are_those_of_utc(alice: Client) -> None:
    used(DAY + timedelta(hours=23), alice, runs=1)
    used(DAY + timedelta(hours=24), alice, runs=2)
    assert [(row.day, row.runs) for row in of(2, "day")] == [(date(2026, 3, 10), 1), (date(2026, 3, 11), 2)]


def test_split_by_client_and_runtime(alice: Client, python_runtime: Runtime) -> None:
    used(DAY, alice, python_runtime.pk, runs=1)
    used(DAY, alice, 999, runs=2)
    used(DAY, None, 999, runs=4)
    assert {(row.client, row.runtime, row.runs) for row in of(1, "client", "runtime")} == {
        ("alice", "python", 1), ("alice", "deleted #999", 2), (None, "deleted #999", 4),
    }  # fmt: skip
    assert [(row.client, row.runs) for row in of(1, "client", runtime_id=999)] == [(None, 4), ("alice", 2)]


def test_a_client_sees_its_own_only(alice: Client, ran: Ran) -> None:
    bob = Client.objects.create(name="bob")
    ran()
    ran(client=bob)
    ran(client=None)
    for client in (alice, bob, None):
        refusals.count(Kind.RATE, client and client.pk)
    refusals.flush()
    StoredSample.objects.create(hour=LONG_AGO, client_id=bob.pk, bytes=7)
    for client in (alice, None):
        row = total(everybody=False, client_id=client and client.pk)
        assert (row.runs, row.refusals, row.stored_bytes) == (1, 1, None)
    assert total(everybody=False, client_id=bob.pk).stored_byte_hours == 7


def test_refusals_without_runs_have_a_row(alice: Client) -> None:
    refusals.count(Kind.DAILY, alice.pk)
    refusals.flush()
    (row,) = figures.rows(scope(1), ("client",))
    assert (row.client, row.runs, row.refused) == ("alice", 0, {"daily": 1})


def test_stored_bytes_are_those_of_the_last_hour(alice: Client) -> None:
    for hours, size in ((0, 10), (1, 30), (30, 5)):
        StoredSample.objects.create(hour=DAY + timedelta(hours=hours), client_id=alice.pk, bytes=size)
    assert [(row.stored_bytes, row.stored_byte_hours) for row in of(2, "client", "day")] == [(30, 40), (5, 5)]
    assert [(row.stored_bytes, row.stored_byte_hours) for row in of(2, "client")] == [(5, 45)]
    assert of(2, "client", "runtime") == []


def test_quotas_are_compared_with_the_busiest_day(alice: Client) -> None:
    Client.objects.filter(pk=alice.pk).update(max_runs_per_day=10, max_stored_bytes=1000)
    used(DAY, alice, runs=5)
    used(DAY + timedelta(days=1), alice, runs=8)
    used(DAY + timedelta(days=1), alice, 2, runs=1)
    StoredSample.objects.create(hour=DAY, client_id=alice.pk, bytes=250)
    (row,) = of(2, "client")
    assert (row.busiest_day_runs, row.daily_share, row.stored_share) == (9, 0.9, 0.25)
    assert [each.daily_share for each in of(2, "client", "day")] == [0.5, 0.9]
    assert of(2, "runtime")[0].daily_share is None


def price(day: date, currency: str = "EUR", **prices: object) -> Price:
    return Price.objects.create(from_day=day, currency=currency, **prices)


def test_costs_are_quantities_times_prices(alice: Client) -> None:
    price(date(2026, 3, 1), per_run="0.1", per_cpu_second="2", per_gib_second="3", per_gib_day_stored="5",
          per_gib_egress="7")  # fmt: skip
    used(DAY, alice, runs=11, rejected=1, cpu_ms=1500, memory_byte_seconds=GIB, egress_bytes=2 * GIB)
    StoredSample.objects.create(hour=DAY, client_id=alice.pk, bytes=24 * GIB)
    assert of(1, "client")[0].costs == {"EUR": Decimal("1.0") + 3 + 3 + 5 + 14}


def test_each_day_has_the_price_of_its_time(alice: Client) -> None:
    price(date(2026, 3, 11), per_run=2)
    price(date(2026, 3, 12), "USD", per_run=3)
    price(date(2026, 3, 13), "USD", per_run=0)
    for day in range(4):
        used(DAY + timedelta(days=day), alice, runs=1)
    assert of(4)[0].costs == {"EUR": 2, "USD": 3}
    assert [row.costs for row in of(4, "day")] == [{}, {"EUR": 2}, {"USD": 3}, {}]


def test_a_price_does_not_begin_in_the_past(db: None) -> None:
    with pytest.raises(ValidationError, match="Choose today or later"):
        Price(from_day=today() - timedelta(days=1), currency="EUR").full_clean()
    Price(from_day=today(), currency="EUR").full_clean()


def test_a_price_is_not_negative(db: None) -> None:
    with pytest.raises(ValidationError, match="per_run"):
        Price(from_day=today(), currency="EUR", per_run=-1).full_clean()


def test_too_many_rows_are_refused(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MOST_ROWS", 1)
    used(DAY, alice, runs=1)
    used(DAY, None, runs=1)
    with pytest.raises(figures.TooManyRows):
        of(1, "client")


def test_as_many_queries_for_a_long_history(ran: Ran) -> None:
    def read() -> int:
        with CaptureQueriesContext(connection) as queries:
            figures.rows(scope(), ("client", "day"))
        return len(queries)

    ran()
    few = read()
    for days in range(1, 6):
        ran(NOW - timedelta(days=days))
    ran(status=Status.FAILED, outcome="nonzero_exit")
    rollup.roll_up()
    assert read() <= few
