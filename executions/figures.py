"""Counts executions by the hour, so that a dashboard of a month reads hours instead of executions.

A periodic job counts and stores each hour once all its executions have ended. Later hours are counted on demand. The
hours of each full day are summed, so that a dashboard of a year reads days.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Min
from django.utils import timezone

from executions.models import DailyCount, DailyTime, Execution, HourlyCount, HourlyTime, Rollup
from executions.models.execution import SELF_TEST
from sandbox_platform.kit.locks import Lock

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# Within this span, executions are counted one by one, so that its ends need not be those of hours.
EXACT = timedelta(hours=2)
# One transaction counts at most this span, so that a long history is counted in steps.
STEP = timedelta(days=7)
# The same for days, which are sums of counted hours.
DAYS_STEP = timedelta(days=28)
# Buckets of durations in milliseconds, each 30 % wider than the one before, which bounds a quantile's error.
GROWTH, BUCKETS = 1.3, 64
BUCKET = f"least({BUCKETS - 1}, floor(ln(greatest(%s, 1)) / ln({GROWTH})))::int"
RUN_MS = "extract(epoch FROM ended_at - started_at) * 1000"
PLATFORM_MS = "extract(epoch FROM (finished_at - queued_at) - (ended_at - started_at)) * 1000"
COUNTS = f"""
    SELECT date_bin(%s, queued_at, %s) AS hour, runtime_id, client_id, status, count(*) AS count,
        count(*) FILTER (WHERE warm) AS warm, count(*) FILTER (WHERE NOT warm) AS cold
    FROM executions_execution WHERE queued_at >= %s AND queued_at < %s AND endpoint <> '{SELF_TEST}' GROUP BY 1, 2, 3, 4
"""  # noqa: S608
# The stored rows of a time: its full days from the sums, and the hours before and after them.
STORED = """(
    SELECT hour, {columns} FROM {hourly} WHERE hour >= %(since)s AND hour < %(first)s
    UNION ALL SELECT day, {columns} FROM {daily} WHERE day >= %(first)s AND day < %(last)s
    UNION ALL SELECT hour, {columns} FROM {hourly} WHERE hour >= %(last)s AND hour < %(until)s
) stored"""
STORED_COUNTS = """
    SELECT date_bin(%(step)s, hour, %(origin)s) AS hour, runtime_id, client_id, status, sum(count)::int AS count,
        sum(warm)::int AS warm, sum(cold)::int AS cold
    FROM {} GROUP BY 1, 2, 3, 4
""".format(  # noqa: S608
    STORED.format(
        columns="runtime_id, client_id, status, count, warm, cold",
        hourly=HourlyCount._meta.db_table, daily=DailyCount._meta.db_table,
    )
)  # fmt: skip
STORED_TIMES = "SELECT runtime_id, kind, bucket, sum(count) AS count FROM {} GROUP BY 1, 2, 3".format(  # noqa: S608
    STORED.format(
        columns="runtime_id, kind, bucket, count",
        hourly=HourlyTime._meta.db_table, daily=DailyTime._meta.db_table,
    )
)  # fmt: skip
# Sums of the hours of some days: daily table, hourly table, keys, sums.
SUM_DAYS = """
    INSERT INTO {daily} (day, {keys}, {sums})
    SELECT date_trunc('day', hour, 'UTC'), {keys}, {summed} FROM {hourly} WHERE hour >= %s AND hour < %s
    GROUP BY date_trunc('day', hour, 'UTC'), {keys}
"""
TIMES = f"""
    SELECT date_bin(%s, queued_at, %s) AS hour, runtime_id, kind, bucket, count(*) AS count
    FROM executions_execution, LATERAL (VALUES
        ('run', {BUCKET % RUN_MS}), ('platform', {BUCKET % PLATFORM_MS})) AS time (kind, bucket)
    WHERE queued_at >= %s AND queued_at < %s AND started_at IS NOT NULL AND ended_at IS NOT NULL
        AND finished_at IS NOT NULL AND endpoint <> '{SELF_TEST}' GROUP BY 1, 2, 3, 4
"""  # noqa: S608


def floor_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def floor_day(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def roll_up() -> int:
    """Count the hours that have become final; return how many. Do nothing while another process does it."""
    hours = 0
    while step := _roll_step():
        hours += step
    while _sum_step():
        pass
    return hours


@transaction.atomic
def _roll_step() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [Lock.ROLL_UP])
        if not cursor.fetchone()[0]:
            return 0
        begin, end = counted_up_to(), final_up_to()
        if begin is None or begin >= end:
            return 0
        end = min(end, begin + STEP)
        for model, query, columns in (
            (HourlyCount, COUNTS, "hour, runtime_id, client_id, status, count, warm, cold"),
            (HourlyTime, TIMES, "hour, runtime_id, kind, bucket, count"),
        ):
            table = model._meta.db_table
            parameters: list[Any] = [HOUR, begin, begin, end]
            cursor.execute(f"INSERT INTO {table} ({columns}) {query}", parameters)  # noqa: S608
    Rollup.objects.update_or_create(defaults={"up_to": end}, id=1)
    return (end - begin) // HOUR


@transaction.atomic
def _sum_step() -> bool:
    """Sum the hours of the next days whose hours are all counted; return whether there were any."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [Lock.ROLL_UP])
        rollup = Rollup.objects.first() if cursor.fetchone()[0] else None
        if rollup is None:
            return False
        begin = rollup.days_up_to or _first_day() or floor_day(rollup.up_to)
        end = min(floor_day(rollup.up_to), begin + DAYS_STEP)
        if begin >= end:
            return False
        for daily, hourly, keys, sums in (
            (DailyCount, HourlyCount, "runtime_id, client_id, status", ("count", "warm", "cold")),
            (DailyTime, HourlyTime, "runtime_id, kind, bucket", ("count",)),
        ):
            query = SUM_DAYS.format(
                daily=daily._meta.db_table, hourly=hourly._meta.db_table, keys=keys, sums=", ".join(sums),
                summed=", ".join(f"sum({name})" for name in sums),
            )  # fmt: skip
            cursor.execute(query, [begin, end])
    Rollup.objects.update(days_up_to=end)
    return True


def _first_day() -> datetime | None:
    first: datetime | None = HourlyCount.objects.aggregate(first=Min("hour"))["first"]
    return first and floor_day(first)


def counted_up_to() -> datetime | None:
    """Return the end of the stored hours, or None without any executions."""
    if rollup := Rollup.objects.first():
        return rollup.up_to
    first: datetime | None = Execution.objects.aggregate(first=Min("queued_at"))["first"]
    return first and floor_hour(first)


def final_up_to() -> datetime:
    """Return the hour before which no execution is open and none can be added: `queued_at` is the time of arrival."""
    oldest = Execution.objects.open().aggregate(oldest=Min("queued_at"))["oldest"]
    now = timezone.now() - timedelta(minutes=1)
    return floor_hour(min(now, oldest) if oldest else now)


@dataclass
class Times:
    """Histograms of one runtime's durations: number of executions by bucket."""

    run: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    platform: dict[int, int] = field(default_factory=lambda: defaultdict(int))


def bounds(since: datetime, until: datetime | None = None) -> tuple[datetime, datetime]:
    """Return the ends of the time that counts() and times() cover: whole hours, except within EXACT."""
    until = until or timezone.now() + HOUR
    if until - since <= EXACT:
        return since, until
    return floor_hour(since), floor_hour(until - timedelta(microseconds=1)) + HOUR


def origin_of(since: datetime, step: timedelta) -> datetime:
    """Return the begin of the first step: the day's begin if a step is of days, so that each holds whole days."""
    return since if step % DAY else floor_day(since)


def counts(since: datetime, step: timedelta = HOUR, until: datetime | None = None) -> list[dict[str, Any]]:
    """Return the stored and the later counts, as rows of COUNTS. A row's `hour` is the begin of its `step`.

    `step`: whole hours, or less within EXACT. The steps begin at origin_of(), before which nothing is counted.
    """
    since, until = bounds(since, until)
    if step < HOUR:
        return list(_live(COUNTS, step, since, since, until))
    origin = origin_of(since, step)
    ends = _stored_ends(since, until, days=not step % DAY)
    parameters: dict[str, Any] = {"step": step, "origin": origin, **ends}
    with connection.cursor() as cursor:
        cursor.execute(STORED_COUNTS, parameters)
        stored = list(_dicts(cursor))
    return [*stored, *_live(COUNTS, step, origin, ends["until"], until)]


def _stored_ends(since: datetime, until: datetime, *, days: bool) -> dict[str, datetime]:
    """Return the ends of the stored part of a time, as STORED takes them, read once so that nothing counts twice.

    `days`: whether days that are summed may be read as such.
    """
    rollup = Rollup.objects.first()
    stored = max(since, min(until, rollup.up_to)) if rollup else since
    first, last = summed_days(since, stored, rollup.days_up_to if rollup and days else None)
    return {"since": since, "first": first, "last": last, "until": stored}


def summed_days(since: datetime, until: datetime, up_to: datetime | None) -> tuple[datetime, datetime]:
    """Return begin and end of the full days of a time, if days are summed `up_to`; twice `until` without any."""
    if up_to is None:
        return until, until
    first, last = floor_day(since - timedelta(microseconds=1)) + DAY, min(floor_day(until), up_to)
    return (first, last) if first < last else (until, until)


def daily(client_id: int, now: datetime, days: int) -> dict[date, int]:
    """Return a client's number of executions on each of the last `days` days (UTC), zeros included."""
    today = now.astimezone(UTC).date()
    totals = {today - timedelta(days=ago): 0 for ago in range(days)}
    begin = datetime.combine(min(totals), time(), UTC)
    for row in counts(begin, DAY):
        day = row["hour"].astimezone(UTC).date()
        if row["client_id"] == client_id and day in totals:
            totals[day] += row["count"]
    return totals


def times(since: datetime, until: datetime | None = None) -> dict[int, Times]:
    """Return the histograms of each runtime, by the runtime's key."""
    since, until = bounds(since, until)
    by_runtime: dict[int, Times] = defaultdict(Times)
    if until - since <= EXACT:
        rows = list(_live(TIMES, HOUR, since, since, until))
    else:
        ends = _stored_ends(since, until, days=True)
        with connection.cursor() as cursor:
            cursor.execute(STORED_TIMES, ends)
            rows = [*_dicts(cursor), *_live(TIMES, HOUR, since, ends["until"], until)]
    for row in rows:
        getattr(by_runtime[row["runtime_id"]], row["kind"])[row["bucket"]] += int(row["count"])
    return by_runtime


def quantile(buckets: dict[int, int], share: float) -> float | None:
    """Return the quantile in milliseconds, as the middle of its bucket; None without any executions."""
    left = share * sum(buckets.values())
    for bucket in sorted(buckets):
        left -= buckets[bucket]
        if left <= 0:
            return math.sqrt(GROWTH) * GROWTH**bucket
    return None


def _live(
    query: str, step: timedelta, origin: datetime, begin: datetime, end: datetime
) -> Iterable[dict[str, Any]]:
    with connection.cursor() as cursor:
        parameters: list[Any] = [step, origin, begin, end]
        cursor.execute(query, parameters)
        return list(_dicts(cursor))


def _dicts(cursor: Any) -> Iterable[dict[str, Any]]:
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
