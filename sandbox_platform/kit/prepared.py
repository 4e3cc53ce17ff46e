"""Prepared statements for the few queries that every run makes: planning them took longer than executing them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.db.backends.postgresql.base import ServerBindingCursor

# psycopg prepares a query that it has seen this often. Postgres keeps prepared statements per session.
SEEN = 1


@contextmanager
def prepared() -> Iterator[None]:
    """Make Postgres plan each query of this thread's connection once and reuse the plan, by the query's text.

    By default Django puts the parameters into the text, so no two queries are alike and none is prepared. Binding
    parameters on the server works for plain queries, but not for everything Django can generate: use it only for
    queries that a test runs this way.
    """
    connection.ensure_connection()
    session: Any = connection.connection
    factory, threshold = session.cursor_factory, session.prepare_threshold
    session.cursor_factory, session.prepare_threshold = ServerBindingCursor, SEEN
    try:
        yield
    finally:
        session.cursor_factory, session.prepare_threshold = factory, threshold
