"""What executions are found and sorted by: expressions that are the same in an index and in every query."""

from datetime import timedelta
from typing import Any

from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import ExpressionWrapper, F, Func, Value
from django.db.models.functions import Coalesce

from clients.models.client import Client

# A tsvector holds at most 1 MiB, and a longer one would fail the row: what lies beyond is not searched.
SEARCHED_CHARACTERS = 20_000
# Of an id, in the marks of its time: 50 days, 3 days, 5 h, 17 min, 65 s.
MARK_DIGITS = (4, 5, 6, 7, 8)
# What full-text search looks at. The marks begin with a character that no word of a text does: see searching.py.
# Its cost is thousands of times that of an operator, and Postgres must know: it would compute it row by row where
# the index has it. In SQL it would be taken apart and the cost forgotten, hence plpgsql.
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
    """Unknown is 0: the index has no gaps, and a sorted list neither."""
    ran = ExpressionWrapper(F("ended_at") - F("started_at"), output_field=models.DurationField())
    return Coalesce(ran, Value(timedelta(0)), output_field=models.DurationField())


# What lists are sorted by beside the time.
SORT_KEYS: dict[str, Any] = {
    "duration": ran_for(),
    "cpu_ms": Coalesce("cpu_ms", Value(0)),
    "peak_memory_bytes": Coalesce("peak_memory_bytes", Value(0)),
}
