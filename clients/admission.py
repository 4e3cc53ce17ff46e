"""How many executions a client may have: per minute, per day, and at the same time.

Counted in Postgres, so it holds across threads, processes and nodes; per client, never per address: a whole
RAGFlow deployment sits behind one. A client without such limits costs no query.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from django.db import connection
from django.utils import timezone

from clients.models import Client, ClientUsage
from clients.models.usage import SECONDS
from clients.sources import open_executions

# Counts, and holds the row until the end of the transaction. Seconds and days only move on: whoever waited for the
# row may come with an earlier second than the one that was counted meanwhile. The seconds that have passed since
# the last count push as many of the oldest out.
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
# Nobody knows when one of the open executions will end.
TRY_AGAIN_S = 1


class OverLimit(Exception):
    """Too many executions of one client; some of them will be admitted later."""

    def __init__(self, limit: str, value: int, used: int, frees_at: datetime | None) -> None:
        when = f"at {frees_at:%Y-%m-%d %H:%M:%S} UTC" if frees_at else "when one of them ends"
        super().__init__(f"This client may have {value} {LABELS[limit]} and has {used}. It frees {when}.")
        self.limit = limit
        self.value = value
        self.used = used
        self.frees_at = frees_at

    @property
    def retry_after_s(self) -> int:
        if self.frees_at is None:
            return TRY_AGAIN_S
        return max(1, -(-(self.frees_at - timezone.now()) // timedelta(seconds=1)))


class NeverFits(Exception):
    """More executions at once than the client's limit: waiting does not help."""

    def __init__(self, limit: str, value: int, count: int) -> None:
        super().__init__(
            f"{count} executions at once never fit: this client may have {value} {LABELS[limit]}. "
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
    """Counts `count` executions that the same transaction is about to insert; undone with it.

    Raises OverLimit, or NeverFits, and the transaction must then be rolled back: nothing is counted and nothing
    inserted. Call it as late as possible: until the end of the transaction the client's other calls wait for it.
    """
    if client is None or not client.is_metered:
        return
    for limit in LABELS:
        value: int | None = getattr(client, limit)
        if value is not None and count > value:
            raise NeverFits(limit, value, count)
    with connection.cursor() as cursor:
        cursor.execute(COUNT, {"client": client.pk, "count": count})
        second, recent, day, day_used = cursor.fetchone()
    # In this order: the longest wait first, so that nobody is told to come back in vain.
    _check("max_runs_per_day", client.max_runs_per_day, day_used - count, count, day + DAY)
    if client.max_runs_per_minute is not None:
        over = sum(recent) - client.max_runs_per_minute
        frees_at = _frees_at(second, recent, over)
        _check("max_runs_per_minute", client.max_runs_per_minute, sum(recent) - count, count, frees_at)
    if client.max_open_executions is not None:
        # A statement of its own: only now, with the row held, does it see what those before us inserted.
        _check("max_open_executions", client.max_open_executions, open_executions(client), count, None)


def _frees_at(second: int, recent: list[int], number: int) -> datetime | None:
    """When so many of them are a minute old; None if there are not as many."""
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
    minute_frees_at: datetime | None  # one of them
    day_used: int
    day_ends: datetime
    open_executions: int


def usage_of(client: Client | None) -> Usage:
    """As it stands now. What was counted more than a minute ago, or in a day that is over, is no more. Runs are
    counted only for a client with a limit on them."""
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
        open_executions=open_executions(client),
    )
