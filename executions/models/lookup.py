"""Expressions for searching and sorting executions, shared by the indexes and all queries that use them."""

from datetime import timedelta
from typing import Any

from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import ExpressionWrapper, F, Func, Value
from django.db.models.functions import Coalesce

from clients.models.client import Client

# Only this many characters of each text are searched: a tsvector over 1 MiB would fail the INSERT.
SEARCHED_CHARACTERS = 20_000
# Lengths of the id prefixes that mark its time: they span 50 days, 3 days, 5 h, 17 min, 65 s.
MARK_DIGITS = (4, 5, 6, 7, 8)
# The document of the full-text search. Marks begin with a character that no word of a text contains: see searching.py.
# COST tells Postgres that the function costs thousands of times as much as an operator; otherwise Postgres would
# compute it row by row instead of using the index. plpgsql, because Postgres inlines SQL functions and drops COST.
WORDS = f"""
CREATE FUNCTION execution_words(id uuid, client_id bigint, code text, stdout text, stderr text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 100000 AS $$
BEGIN
    RETURN to_tsvector('pg_catalog.simple', left(code, {SEARCHED_CHARACTERS}) || ' '
            || left(stdout, {SEARCHED_CHARACTERS}) || ' ' || left(stderr, {SEARCHED_CHARACTERS}))
        || array_to_tsvector(ARRAY['@c' || coalesce(client_id::text, ''),
            {", ".join(f"'@' || left(id::text, {digits})" for digits in MARK_DIGITS)}]);
END $$;
"""


def search_vector() -> Func:
    names = ("id", "client", "code", "stdout", "stderr")
    return Func(*names, function="execution_words", output_field=SearchVectorField())


def mark_of_client(client: Client | None) -> str:
    return f"@c{client.pk if client else ''}"


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
