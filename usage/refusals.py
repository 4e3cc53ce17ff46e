"""Counts refused requests in the memory of a web process, and writes the counts every few seconds.

A flood of refused requests must cost no transaction each: it costs an addition, and each process one statement every
FLUSH_S. The keys are ids from the database and kinds from this module, so that no request can make up new ones. A
process that is killed loses what it counted since its last flush.
"""

import threading
from collections import Counter
from datetime import datetime
from typing import Any

from django.db import DatabaseError, InterfaceError, connection
from django.db.models import TextChoices
from django.utils import timezone

from clients.admission import NeverFits, OverLimit, RuntimeNotAllowed, StorageFull
from executions import figures, people
from executions.limits import LimitTooHigh
from sandbox_platform.kit import errors
from sandbox_platform.kit.flushing import Flusher
from usage.models import Refusal

FLUSH_S = 5.0


class Kind(TextChoices):
    RATE = "rate", "Runs per minute"
    DAILY = "daily", "Runs per day"
    OPEN = "open", "Queued or running at once"
    STORAGE = "storage", "Stored history"
    BATCH = "batch", "Batch larger than a quota"
    PLACES = "places", "Too many requests at once"
    RUNTIME_DISABLED = "runtime_disabled", "Runtime disabled"
    RUNTIME_NOT_ALLOWED = "runtime_not_allowed", "Runtime not allowed"
    LIMIT = "limit", "Limit above the cap"
    TOKEN = "token", "Token refused"
    ROLE = "role", "Role may not do this"
    SERVER = "server", "Web server busy"


QUOTAS = {"max_runs_per_minute": Kind.RATE, "max_runs_per_day": Kind.DAILY, "max_open_executions": Kind.OPEN}
Key = tuple[datetime, int | None, int | None, str]
_counts: Counter[Key] = Counter()
_lock = threading.Lock()
ADD = f"""
    INSERT INTO {Refusal._meta.db_table} AS r (hour, client_id, runtime_id, kind, count)
    SELECT * FROM unnest(%s::timestamptz[], %s::bigint[], %s::bigint[], %s::text[], %s::bigint[])
    ON CONFLICT (hour, client_id, runtime_id, kind) DO UPDATE SET count = r.count + EXCLUDED.count
"""  # noqa: S608


def kind_of(error: BaseException) -> Kind | None:
    """Return the kind of a refusal; None for an error of the request itself, such as an invalid field."""
    match error:
        case StorageFull():
            return Kind.STORAGE
        case OverLimit():
            return QUOTAS[error.limit]
        case NeverFits():
            return Kind.BATCH
        case RuntimeNotAllowed():
            return Kind.RUNTIME_NOT_ALLOWED
        case LimitTooHigh():
            return Kind.LIMIT
        case errors.TooMany():
            return Kind.PLACES
        case errors.Conflicting(code="runtime_disabled"):
            return Kind.RUNTIME_DISABLED
        case errors.InvalidField() | people.NotNow() if error.__cause__:
            return kind_of(error.__cause__)
    return None


def count(kind: Kind, client_id: int | None = None, runtime_id: int | None = None) -> None:
    with _lock:
        _counts[figures.floor_hour(timezone.now()), client_id, runtime_id, kind.value] += 1


def server_was_busy() -> None:
    """Count a request that the web server refused before it had read who sends it."""
    count(Kind.SERVER)


def flush() -> int:
    """Write the counts; return how many refusals they were. After a failure, the next call writes them."""
    with _lock:
        taken = Counter(_counts)
        _counts.clear()
    if not taken:
        return 0
    # In one order, so that processes do not wait for each other's rows in a circle.
    keys = sorted(taken, key=lambda key: (key[0], key[1] or 0, key[2] or 0, key[3]))
    columns: list[list[Any]] = [list(column) for column in zip(*keys, strict=True)]
    try:
        with connection.cursor() as cursor:
            cursor.execute(ADD, [*columns, [taken[key] for key in keys]])
    except (DatabaseError, InterfaceError):
        with _lock:
            _counts.update(taken)
        raise
    return taken.total()


writer = Flusher("refusals", flush, FLUSH_S)
