"""Admission: which runtimes a client may use, and its quotas on executions per minute, per day, and open at once,
and on the bytes that its history holds.

Everything that runs a caller's program comes through here: submissions, batches, reruns, runs from the web UI, and
inspections that people and clients request.

Executions are counted in Postgres, so a quota applies across threads, processes and nodes. They are counted per
client, never per address: a whole RAGFlow deployment has one address. A client without quotas costs no query.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from django.db import connection
from django.utils import timezone

from clients.models import Client, ClientUsage
from clients.models.usage import SECONDS
from clients.sources import open_executions, open_inspections
from clients.storage import stored_bytes
from runtimes.models import Runtime
from sandbox_platform.kit.units import format_bytes

# Counts, and locks the row until the end of the transaction. Seconds and days only move forward: a transaction that
# waited for the lock may bring an earlier second than the one counted meanwhile. Each second that has passed since
# the last count drops the oldest second of the window.
_PASSED = f"LEAST(GREATEST(EXCLUDED.second - u.second, 0), {SECONDS})::int"
COUNT = f"""
    INSERT INTO executions_clientusage AS u (client_id, second, recent, day, day_used)
    VALUES (
        %(client)s, floor(extract(epoch FROM now())), array_fill(0, ARRAY[{SECONDS - 1}]) || %(count)s::int,
        date_trunc('day', now(), 'UTC'), %(count)s
    )
    ON CONFLICT (client_id) DO UPDATE SET
        second = GREATEST(u.second, EXCLUDED.second),
        recent = (u.recent || array_fill(0, ARRAY[{SECONDS}]))[{_PASSED} + 1 : {_PASSED} + {SECONDS - 1}]
            || (CASE {_PASSED} WHEN 0 THEN u.recent[{SECONDS}] ELSE 0 END + EXCLUDED.recent[{SECONDS}]),
        day = GREATEST(u.day, EXCLUDED.day),
        day_used = EXCLUDED.day_used + CASE WHEN u.day >= EXCLUDED.day THEN u.day_used ELSE 0 END
    RETURNING second, recent, day, day_used
"""  # noqa: S608
DAY = timedelta(days=1)
# It is unknown when an open execution will end, so suggest a short wait.
TRY_AGAIN_S = 1
STORED = "max_stored_bytes"
# Purges run every hour. Nobody knows whether the next one frees anything.
AFTER_PURGE_S = 3600


class RuntimeNotAllowed(Exception):
    def __init__(self, client: Client, runtime: Runtime) -> None:
        super().__init__(
            f"The client {client} may not use the runtime {runtime}, only {', '.join(client.allowed_runtimes)}. "
            "An administrator can allow it."
        )


def check_runtime(client: Client | None, runtime: Runtime) -> None:
    """Raise RuntimeNotAllowed if the client may not use the runtime."""
    if client and not client.may_use(runtime):
        raise RuntimeNotAllowed(client, runtime)


def usable(client: Client | None) -> list[Runtime]:
    """Return the enabled runtimes that the client may use, by slug. None: a caller without restrictions."""
    runtimes = Runtime.objects.lean().enabled().order_by("slug")
    return [runtime for runtime in runtimes if client is None or client.may_use(runtime)]


class OverLimit(Exception):
    """The client has used up a quota. Retrying later can succeed."""

    def __init__(self, limit: str, value: int, used: int, frees_at: datetime | None) -> None:
        when = f"at {frees_at:%Y-%m-%d %H:%M:%S} UTC" if frees_at else "when one of them has ended"
        super().__init__(f"This client may have {value} {LABELS[limit]} and has {used}. Retry {when}.")
        self.limit = limit
        self.value = value
        self.used = used
        self.frees_at = frees_at

    @property
    def retry_after_s(self) -> int:
        if self.frees_at is None:
            return TRY_AGAIN_S
        return max(1, -(-(self.frees_at - timezone.now()) // timedelta(seconds=1)))


class StorageFull(OverLimit):
    """The client's history holds as much as it may. Retrying can succeed once something was purged."""

    remedy = (
        "Ask an administrator for a shorter retention, whose purge frees space within the hour, or for a higher "
        "quota (docs/clients.md)."
    )

    def __init__(self, value: int, used: int) -> None:
        self.limit, self.value, self.used, self.frees_at = STORED, value, used, None
        self.detail = f"This client's history holds {format_bytes(used)} and may hold {format_bytes(value)}."
        Exception.__init__(self, f"{self.detail} {self.remedy}")

    @property
    def retry_after_s(self) -> int:
        return AFTER_PURGE_S


class NeverFits(Exception):
    """The request has more executions than a quota allows at all. Retrying cannot succeed."""

    def __init__(self, limit: str, value: int, count: int) -> None:
        super().__init__(
            f"{count} executions in one request never fit: this client may have {value} {LABELS[limit]}. "
            "Send smaller batches."
        )
        self.limit = limit
        self.value = value


LABELS = {
    "max_runs_per_minute": "runs per minute",
    "max_runs_per_day": "runs per day",
    "max_open_executions": "executions queued or running at the same time",
}


def admit(client: Client | None, count: int = 1) -> None:
    """Count `count` executions or traces that the same transaction is about to insert. A rollback undoes the count.

    Raises OverLimit or NeverFits: the caller must then roll back, so that nothing is counted or inserted. Call this as
    late as possible: the client's other calls wait for the end of the transaction.
    """
    if client is None:
        return
    # First, because the others lock a row until the end of the transaction.
    if (most := client.stored_limit) is not None and (used := stored_bytes(client)) >= most:
        raise StorageFull(most, used)
    if not client.is_metered:
        return
    for limit in LABELS:
        value: int | None = getattr(client, limit)
        if value is not None and count > value:
            raise NeverFits(limit, value, count)
    with connection.cursor() as cursor:
        cursor.execute(COUNT, {"client": client.pk, "count": count})
        second, recent, day, day_used = cursor.fetchone()
    # Check the longest wait first, so that a client that waits as told is not refused by another quota.
    _check("max_runs_per_day", client.max_runs_per_day, day_used - count, count, day + DAY)
    if client.max_runs_per_minute is not None:
        over = sum(recent) - client.max_runs_per_minute
        frees_at = _frees_at(second, recent, over)
        _check("max_runs_per_minute", client.max_runs_per_minute, sum(recent) - count, count, frees_at)
    if client.max_open_executions is not None:
        # A separate statement: it starts with the row locked, so it sees what earlier transactions have inserted.
        used = open_executions(client) + open_inspections(client)
        _check("max_open_executions", client.max_open_executions, used, count, None)


def _frees_at(second: int, recent: list[int], number: int) -> datetime | None:
    """Return when `number` of the counted executions have left the window; None if there are fewer."""
    for index, gone in enumerate(accumulate(recent)):
        if gone >= max(number, 1):
            return datetime.fromtimestamp(second + 1 + index, UTC)
    return None


def _check(limit: str, value: int | None, used: int, count: int, frees_at: datetime | None) -> None:
    if value is not None and used + count > value:
        raise OverLimit(limit, value, used, frees_at)


@dataclass(frozen=True)
class Usage:
    minute_used: int
    minute_frees_at: datetime | None  # when the oldest leaves the window
    day_used: int
    day_ends: datetime
    open_executions: int
    stored_bytes: int


def usage_of(client: Client | None) -> Usage:
    """Return the client's current usage: of the last minute, of today (UTC), the open executions, and what it stores.

    Runs are counted only for a client with a quota, and bytes only for a client.
    """
    now = timezone.now().astimezone(UTC)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    row = ClientUsage.objects.filter(client=client).first()
    recent = list(row.recent) if row else []
    if row:
        passed = max(0, int(now.timestamp()) - row.second)
        recent[:passed] = [0] * min(passed, SECONDS)
    return Usage(
        minute_used=sum(recent),
        minute_frees_at=_frees_at(row.second, recent, 1) if row else None,
        day_used=row.day_used if row and row.day >= day else 0,
        day_ends=day + DAY,
        open_executions=open_executions(client) + (open_inspections(client) if client else 0),
        stored_bytes=stored_bytes(client) if client else 0,
    )
