"""Counts what executions used by the hour in which they were accepted, once all executions of the hour have ended.

As executions/figures.py counts executions, but with a mark of its own: the first count after an upgrade begins with the
oldest execution. Later hours are counted on demand by usage/figures.py.

A purge may remove an execution before its hour is counted. It counts what it removes (count_purged). Both take the
same lock, so that each execution is counted by one of them.
"""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Min
from django.utils import timezone

from executions import figures
from executions.models import Execution
from executions.models.execution import SELF_TEST
from sandbox_platform.kit.locks import Lock
from usage.models import Counted, DailyUsage, HourlyUsage, StoredSample

TABLE = HourlyUsage._meta.db_table
QUANTITIES = ("runs", "rejected", "cpu_ms", "memory_byte_seconds", "egress_bytes")
# Of runs that ended, with the peak that was measured, else the limit.
SECONDS = "extract(epoch FROM e.ended_at - e.started_at)"
USED = f"""
    SELECT date_trunc('hour', e.queued_at, 'UTC') AS hour, e.client_id, e.runtime_id, count(*) AS runs,
        count(*) FILTER (WHERE e.status = 'rejected') AS rejected,
        coalesce(sum(e.cpu_ms), 0)::bigint AS cpu_ms,
        coalesce(round(sum(coalesce(e.peak_memory_bytes, (e.limits ->> 'memory_bytes')::bigint)
            * greatest({SECONDS}, 0))), 0)::bigint AS memory_byte_seconds,
        coalesce(sum(CASE WHEN e.network <> 'none' THEN (
            SELECT sum(coalesce(r.bytes_sent, 0) + coalesce(r.bytes_received, 0))
            FROM executions_egressrequest r WHERE r.execution_id = e.id
        ) END), 0)::bigint AS egress_bytes
    FROM executions_execution e WHERE e.finished_at IS NOT NULL AND e.endpoint <> '{SELF_TEST}' AND
"""  # noqa: S608
ADD = f"""
    ON CONFLICT (hour, client_id, runtime_id) DO UPDATE
    SET {", ".join(f"{name} = {TABLE}.{name} + EXCLUDED.{name}" for name in QUANTITIES)}
"""  # noqa: S608
INSERT = f"INSERT INTO {TABLE} (hour, client_id, runtime_id, {', '.join(QUANTITIES)})"
SUM_DAYS = f"""
    INSERT INTO {DailyUsage._meta.db_table} (day, client_id, runtime_id, {", ".join(QUANTITIES)})
    SELECT date_trunc('day', hour, 'UTC'), client_id, runtime_id, {", ".join(f"sum({name})" for name in QUANTITIES)}
    FROM {TABLE} WHERE hour >= %s AND hour < %s GROUP BY 1, 2, 3
"""  # noqa: S608
SAMPLE = f"""
    INSERT INTO {StoredSample._meta.db_table} (hour, client_id, bytes)
    SELECT %s, client_id, greatest(sum(bytes), 0)::bigint FROM (
        SELECT client_id, bytes FROM executions_clientstorage
        UNION ALL SELECT client_id, bytes FROM executions_storagechange
    ) stored GROUP BY client_id HAVING sum(bytes) > 0
    ON CONFLICT (hour, client_id) DO NOTHING
"""  # noqa: S608


def roll_up() -> int:
    """Count the hours that have become final, and what is stored now; return the number of hours.

    Do nothing while another process does it.
    """
    hours = 0
    while step := _roll_step():
        hours += step
    while _sum_step():
        pass
    sample()
    return hours


@transaction.atomic
def _roll_step() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [Lock.USAGE])
        if not cursor.fetchone()[0]:
            return 0
        begin, end = counted_up_to(), figures.final_up_to()
        if begin is None or begin >= end:
            return 0
        end = min(end, begin + figures.STEP)
        within = "e.queued_at >= %s AND e.queued_at < %s GROUP BY 1, 2, 3"
        cursor.execute(f"{INSERT} {USED} {within} {ADD}", [begin, end])
    Counted.objects.update_or_create(defaults={"up_to": end}, id=1)
    return (end - begin) // figures.HOUR


@transaction.atomic
def _sum_step() -> bool:
    """Sum the hours of the next days whose hours are all counted; return whether there were any."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [Lock.USAGE])
        counted = Counted.objects.first() if cursor.fetchone()[0] else None
        if counted is None:
            return False
        first = counted.days_up_to or HourlyUsage.objects.aggregate(first=Min("hour"))["first"] or counted.up_to
        begin = figures.floor_day(first)
        end = min(figures.floor_day(counted.up_to), begin + figures.DAYS_STEP)
        if begin >= end:
            return False
        cursor.execute(SUM_DAYS, [begin, end])
    Counted.objects.update(days_up_to=end)
    return True


def counted_up_to() -> datetime | None:
    """Return the end of the counted hours, or None without any executions."""
    if counted := Counted.objects.first():
        return counted.up_to
    first: datetime | None = Execution.objects.aggregate(first=Min("queued_at"))["first"]
    return first and figures.floor_hour(first)


def sample() -> None:
    """Record once in an hour what each client's history holds."""
    with connection.cursor() as cursor:
        cursor.execute(SAMPLE, [figures.floor_hour(timezone.now())])


def count_purged(ids: list[UUID]) -> None:
    """Count those of the executions whose hours are not counted yet. Call this in the transaction that deletes them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [Lock.USAGE])
        # A statement of its own: it sees what the count that held the lock has committed.
        since = Counted.objects.values_list("up_to", flat=True).first()
        which = "e.id = ANY(%s) AND (%s::timestamptz IS NULL OR e.queued_at >= %s)"
        cursor.execute(f"{INSERT} {USED} {which} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 {ADD}", [ids, since, since])


def is_behind() -> bool:
    """Whether hours wait to be counted, as for some minutes after an upgrade."""
    up_to = counted_up_to()
    return up_to is not None and up_to + timedelta(days=2) < figures.final_up_to()
