"""Figures of the counting itself, and of the database."""

from collections.abc import Iterator

from django.db import connection

from metrics.models import Event
from sandbox_platform.kit.metrics import Figure, Reading, Value, declare

# Beyond, counting would cost more than the number says.
MOST_COUNTED = 100_000
FIGURES = (
    Figure("events_waiting", f"Events that are not added to the counters yet, up to {MOST_COUNTED:,}."),
    Figure("database_size_bytes", "Size of the database on disk."),
    Figure("history_rows", "Executions in the history, as Postgres estimates them."),
)
SIZES = """
    SELECT pg_database_size(current_database()),
        (SELECT sum(greatest(reltuples, 0)) FROM pg_class WHERE relkind = 'r' AND (
            oid = 'executions_execution'::regclass
            OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'executions_execution'::regclass)))
"""


def read() -> Iterator[Value]:
    yield Value("events_waiting", Event.objects.order_by()[:MOST_COUNTED].count())
    with connection.cursor() as cursor:
        cursor.execute(SIZES)
        size, rows = cursor.fetchone()
    yield Value("database_size_bytes", size)
    yield Value("history_rows", rows)


declare(Reading(FIGURES, read))
