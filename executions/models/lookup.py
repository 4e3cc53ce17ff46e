"""Expressions for searching and sorting executions, shared by the indexes and all queries that use them."""

from datetime import timedelta
from typing import Any

from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import ExpressionWrapper, F, Func, Value
from django.db.models.functions import Cast, Coalesce, Right

from clients.models.client import Client
from executions.models.ids import SHORT

# Characters of each text that are searched; executions/migrations/words.sql has the same number.
SEARCHED_CHARACTERS = 20_000
# Hexadecimal digits of an id in the marks of its time, as in words.sql: 50 days, 3 days, 5 h, 17 min, 65 s.
MARK_DIGITS = (4, 5, 6, 7, 8)


def search_vector() -> Func:
    names = ("id", "client", "code", "stdout", "stderr")
    return Func(*names, function="execution_words", output_field=SearchVectorField())


def mark_of_client(client: Client | None) -> str:
    return f"@c{client.pk if client else ''}"


def last_digits() -> Right:
    """Return an expression for the short id, which lists show."""
    return Right(Cast("id", models.TextField()), SHORT)


def ran_for() -> Coalesce:
    """Return an expression for the run's duration, 0 if unknown, so that the index and sorted lists hold every row."""
    ran = ExpressionWrapper(F("ended_at") - F("started_at"), output_field=models.DurationField())
    return Coalesce(ran, Value(timedelta(0)), output_field=models.DurationField())


# Sort keys of lists, other than the time.
SORT_KEYS: dict[str, Any] = {
    "duration": ran_for(),
    "cpu_ms": Coalesce("cpu_ms", Value(0)),
    "peak_memory_bytes": Coalesce("peak_memory_bytes", Value(0)),
}
