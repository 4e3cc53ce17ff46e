"""Prepared statements, for the few queries that every run makes: their planning cost more than they did."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.db.backends.postgresql.base import ServerBindingCursor

# Postgres keeps those of a session; psycopg prepares what it has seen so often.
SEEN = 1


@contextmanager
def prepared() -> Iterator[None]:
    """Inside, Postgres plans each query of this thread's connection once, and knows it again by its text.

    Django writes the parameters into the text, which makes every query a new one, and prepares nothing. Binding
    them at the server suits plain queries, not all that Django can write: use it for what a test runs this way.
    """
    connection.ensure_connection()
    session: Any = connection.connection
    factory, threshold = session.cursor_factory, session.prepare_threshold
    session.cursor_factory, session.prepare_threshold = ServerBindingCursor, SEEN
    try:
        yield
    finally:
        session.cursor_factory, session.prepare_threshold = factory, threshold
