from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from clients.models import Client
from executions import figures
from executions.models import DailyCount, DailyTime, Execution, HourlyCount, HourlyTime, Rollup, Status

MakeExecution = Callable[..., Execution]
NOW = timezone.now()
LONG_AGO = NOW - timedelta(days=20)


def total(since_days: int = 30) -> int:
    return sum(row["count"] for row in figures.counts(NOW - timedelta(days=since_days)))


@pytest.fixture
def history(make_execution: MakeExecution) -> None:
    for hours in (0, 1, 2, 30, 31):
        make_execution(queued_at=LONG_AGO + timedelta(hours=hours), warm=hours % 2 == 0)
    make_execution(status=Status.FAILED, outcome="nonzero_exit")


def test_counted_hours_and_the_youngest_are_all(history: None) -> None:
    assert total() == 6
    assert figures.roll_up() > 0
    assert total() == 6


def test_what_is_counted_is_not_read_again(history: None) -> None:
    figures.roll_up()
    with CaptureQueriesContext(connection) as queries:
        figures.counts(NOW - timedelta(days=30))
    live = next(query["sql"] for query in queries if "FROM executions_execution WHERE" in query["sql"])
    assert str(Rollup.objects.get().up_to.date()) in live


def test_nothing_is_counted_twice(history: None) -> None:
    figures.roll_up()
    assert figures.roll_up() == 0
    assert total() == 6


def test_an_hour_with_an_open_execution_waits(make_execution: MakeExecution) -> None:
    make_execution(queued_at=LONG_AGO)
    make_execution(queued_at=LONG_AGO + timedelta(hours=5), status=Status.RUNNING)
    figures.roll_up()
    assert Rollup.objects.get().up_to == figures.floor_hour(LONG_AGO + timedelta(hours=5))
    assert total() == 2


def test_a_long_history_is_counted_in_steps(history: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "STEP", timedelta(hours=2))
    figures.roll_up()
    assert total() == 6
    assert HourlyCount.objects.count() == 5


# --- Days ---


@pytest.fixture
def days(make_execution: MakeExecution) -> None:
    """One execution each six hours, of four days and a bit."""
    begin = figures.floor_day(LONG_AGO)
    for number in range(17):
        at = begin + timedelta(hours=6 * number + 1)
        end = at + timedelta(seconds=number)
        make_execution(queued_at=at, started_at=at, ended_at=end, finished_at=end, warm=number % 2 == 0)
    figures.roll_up()


def test_full_days_are_read_as_sums(days: None) -> None:
    begin = figures.floor_day(LONG_AGO)
    counted, timed = figures.counts(begin, figures.DAY), figures.times(begin)
    full = {"hour__gte": begin, "hour__lt": begin + timedelta(days=4)}
    HourlyCount.objects.filter(**full).delete()
    HourlyTime.objects.filter(**full).delete()
    assert figures.counts(begin, figures.DAY) == counted
    assert sorted(row["count"] for row in counted) == [1, 4, 4, 4, 4]
    assert sum(row["warm"] for row in counted) == 9
    assert figures.times(begin) == timed
    assert [sum(times.run.values()) for times in timed.values()] == [17]


@pytest.mark.parametrize("since", [0, 3, 23, 24, 25])
@pytest.mark.parametrize("until", [26, 71, 72, 73])
def test_hours_before_and_after_full_days_are_counted(days: None, since: int, until: int) -> None:
    begin = figures.floor_day(LONG_AGO)
    ends = begin + timedelta(hours=since), begin + timedelta(hours=until)
    by_hour = sum(row["count"] for row in figures.counts(ends[0], figures.HOUR, ends[1]))
    assert by_hour == sum(since <= 6 * number + 1 < until for number in range(17))
    rows = figures.counts(ends[0], figures.DAY, ends[1])
    assert sum(row["count"] for row in rows) == by_hour
    assert {row["hour"].hour for row in rows} <= {0}
    assert sum(sum(times.run.values()) for times in figures.times(*ends).values()) == by_hour


def test_days_are_summed_once(days: None) -> None:
    figures.roll_up()
    assert sum(DailyCount.objects.values_list("count", flat=True)) == 17
    assert sum(DailyTime.objects.filter(kind="run").values_list("count", flat=True)) == 17
    assert Rollup.objects.get().days_up_to == figures.floor_day(Rollup.objects.get().up_to)


def test_hours_that_were_counted_before_there_were_days(days: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an upgrade: until the days are summed, the hours are read."""
    DailyCount.objects.all().delete()
    DailyTime.objects.all().delete()
    Rollup.objects.update(days_up_to=None)
    begin = figures.floor_day(LONG_AGO)
    assert sum(row["count"] for row in figures.counts(begin, figures.DAY)) == 17
    monkeypatch.setattr(figures, "DAYS_STEP", timedelta(days=2))
    figures.roll_up()
    assert sum(DailyCount.objects.values_list("count", flat=True)) == 17
    assert sum(row["count"] for row in figures.counts(begin, figures.DAY)) == 17


def test_no_history_is_no_failure(db: None) -> None:
    assert figures.roll_up() == 0
    assert figures.counts(LONG_AGO) == []
    assert not figures.times(LONG_AGO)


def test_older_than_asked_is_left_out(history: None) -> None:
    figures.roll_up()
    assert total(since_days=7) == 1


@pytest.mark.parametrize("rolled", [False, True])
def test_an_end_leaves_out_what_came_later(history: None, rolled: bool) -> None:
    if rolled:
        figures.roll_up()
    day = figures.floor_hour(LONG_AGO), figures.floor_hour(LONG_AGO) + timedelta(hours=24)
    assert sum(row["count"] for row in figures.counts(day[0], figures.HOUR, day[1])) == 3


@pytest.mark.parametrize("rolled", [False, True])
def test_a_short_time_is_counted_to_the_minute(make_execution: MakeExecution, rolled: bool) -> None:
    begin = figures.floor_hour(LONG_AGO)
    for minutes in (5, 29, 31, 64):
        make_execution(queued_at=begin + timedelta(minutes=minutes))
    if rolled:
        figures.roll_up()
    five = timedelta(minutes=5)
    rows = figures.counts(begin + timedelta(minutes=10), five, begin + timedelta(minutes=60))
    assert sorted(row["hour"] for row in rows) == [begin + timedelta(minutes=25), begin + timedelta(minutes=30)]


@pytest.mark.parametrize("rolled", [False, True])
def test_program_and_platform_are_told_apart(make_execution: MakeExecution, rolled: bool) -> None:
    for _ in range(20):
        begin = LONG_AGO + timedelta(milliseconds=300)
        make_execution(
            queued_at=LONG_AGO,
            started_at=begin,
            ended_at=begin + timedelta(seconds=2),
            finished_at=begin + timedelta(milliseconds=2100),
        )
    if rolled:
        figures.roll_up()
    (times,) = figures.times(LONG_AGO).values()
    assert figures.quantile(times.run, 0.5) == pytest.approx(2000, rel=0.3)
    assert figures.quantile(times.platform, 0.95) == pytest.approx(400, rel=0.3)


def test_quantile_of_nothing() -> None:
    assert figures.quantile({}, 0.5) is None


def test_quantile_is_right_to_a_bucket() -> None:
    assert figures.quantile({0: 50, 20: 50}, 0.95) == pytest.approx(figures.GROWTH**20.5)


def test_days_of_one_client(make_execution: MakeExecution) -> None:
    ours, other = (Client.objects.create(name=name) for name in ("ours", "other"))
    for client, days in ((ours, 0), (ours, 3), (ours, 3), (other, 3), (ours, 20)):
        make_execution(client=client, queued_at=NOW - timedelta(days=days))
    figures.roll_up()
    found = figures.daily(ours.pk, NOW, 14)
    assert list(found.values()) == [1, 0, 0, 2, *[0] * 10]
