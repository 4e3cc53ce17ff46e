"""Counts executions by the hour, so that a dashboard of a month reads hours instead of executions.

A periodic job counts and stores each hour once all its executions have ended. Later hours are counted on demand.
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

from executions.models import Execution, HourlyCount, HourlyTime, Rollup
from executions.models.execution import SELF_TEST
from sandbox_platform.kit.locks import Lock

HOUR = timedelta(hours=1)
# Within this span, executions are counted one by one, so that its ends need not be those of hours.
EXACT = timedelta(hours=2)
# One transaction counts at most this span, so that a long history is counted in steps.
STEP = timedelta(days=7)
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
STORED = f"""
    SELECT date_bin(%s, hour, %s) AS hour, runtime_id, client_id, status, sum(count)::int AS count,
        sum(warm)::int AS warm, sum(cold)::int AS cold
    FROM {HourlyCount._meta.db_table} WHERE hour >= %s AND hour < %s GROUP BY 1, 2, 3, 4
"""  # noqa: S608
TIMES = f"""
    SELECT date_bin(%s, queued_at, %s) AS hour, runtime_id, kind, bucket, count(*) AS count
    FROM executions_execution, LATERAL (VALUES
        ('run', {BUCKET % RUN_MS}), ('platform', {BUCKET % PLATFORM_MS})) AS time (kind, bucket)
    WHERE queued_at >= %s AND queued_at < %s AND started_at IS NOT NULL AND ended_at IS NOT NULL
        AND finished_at IS NOT NULL AND endpoint <> '{SELF_TEST}' GROUP BY 1, 2, 3, 4
"""  # noqa: S608


def floor_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def roll_up() -> int:
    """Count the hours that have become final; return how many. Do nothing while another process does it."""
    hours = 0
    while step := _roll_step():
        hours += step
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


def counts(since: datetime, step: timedelta = HOUR, until: datetime | None = None) -> list[dict[str, Any]]:
    """Return the stored and the later counts, as rows of COUNTS. A row's `hour` is the begin of its `step`.

    `step`: whole hours, or less within EXACT.
    """
    since, until = bounds(since, until)
    if step < HOUR:
        return list(_live(COUNTS, step, since, since, until))
    with connection.cursor() as cursor:
        parameters: list[Any] = [step, since, since, until]
        cursor.execute(STORED, parameters)
        stored = list(_dicts(cursor))
    return [*stored, *_uncounted(COUNTS, step, since, until)]


def daily(client_id: int, now: datetime, days: int) -> dict[date, int]:
    """Return a client's number of executions on each of the last `days` days (UTC), zeros included."""
    today = now.astimezone(UTC).date()
    totals = {today - timedelta(days=ago): 0 for ago in range(days)}
    begin = datetime.combine(min(totals), time(), UTC)
    for row in counts(begin):
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
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT runtime_id, kind, bucket, sum(count) AS count FROM {HourlyTime._meta.db_table}"  # noqa: S608
                " WHERE hour >= %s AND hour < %s GROUP BY 1, 2, 3",
                [since, until],
            )
            rows = [*_dicts(cursor)]
        rows += _uncounted(TIMES, HOUR, since, until)
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


def _uncounted(query: str, step: timedelta, since: datetime, until: datetime) -> Iterable[dict[str, Any]]:
    """Return the rows of the query for the hours that are not stored yet."""
    return _live(query, step, since, max(since, counted_up_to() or since), until)


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
