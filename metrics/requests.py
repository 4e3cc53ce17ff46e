"""Counts answers in the memory of a web process, and writes the counts every few seconds as events.

Times are rounded to two digits, so that a flood of like answers is one row. A process that is killed loses what it
counted since its last flush.
"""

import threading
from collections import Counter
from typing import Any

from django.db import DatabaseError, InterfaceError, connection

from metrics.counting import REQUEST
from metrics.models import Event
from sandbox_platform.kit import formats
from sandbox_platform.kit.flushing import Flusher

FLUSH_S = 5.0
# Rows of one flush; beyond, times are not told apart.
MOST_ROWS = 2_000
DOORS = (("/run", "run"), ("/mcp", "mcp"), ("/api/", "api"), ("/admin/", "console"), ("/static/", "static"))
Key = tuple[str, str, float]
_counts: Counter[Key] = Counter()
_lock = threading.Lock()
INSERT = f"""
    INSERT INTO {Event._meta.db_table} (name, labels, amounts, times)
    SELECT '{REQUEST.name}', ARRAY[door, code], ARRAY[seconds], times
    FROM unnest(%s::text[], %s::text[], %s::float8[], %s::int[]) AS row (door, code, seconds, times)
"""  # noqa: S608


def count(path: str, status: int, seconds: float) -> None:
    if format := formats.at(path):
        door = format.name
    else:
        door = next((door for beginning, door in DOORS if path.startswith(beginning)), "other")
    key = (door, f"{status // 100}xx", float(f"{seconds:.2g}"))
    with _lock:
        if key not in _counts and len(_counts) >= MOST_ROWS:
            key = (*key[:2], float(f"{seconds:.0e}"))
        _counts[key] += 1


def flush() -> int:
    """Write the counts; return how many answers they were. After a failure, the next call writes them."""
    with _lock:
        taken = Counter(_counts)
        _counts.clear()
    if not taken:
        return 0
    columns: list[list[Any]] = [list(column) for column in zip(*taken, strict=True)]
    try:
        with connection.cursor() as cursor:
            cursor.execute(INSERT, [*columns, list(taken.values())])
    except (DatabaseError, InterfaceError):
        with _lock:
            _counts.update(taken)
        raise
    return taken.total()


flusher = Flusher("answers", flush, FLUSH_S)
