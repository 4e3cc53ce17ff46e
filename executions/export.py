"""Exports executions as CSV or JSON lines, without a limit on their number."""

import csv
import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from rest_framework.utils.encoders import JSONEncoder

from executions import representation
from executions.models import Execution
from executions.searching import Window

CHUNK = 500
CHUNK_OF_LARGE = 4  # rows with code and output, tens of megabytes each at worst
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
# A spreadsheet evaluates a cell that begins with one of these as a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def rows_of(
    executions: QuerySet[Execution], fields: list[str], windows: Iterable[Window] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the fields of each execution, newest first, or of those in the `windows` of a search.

    Rows are read in chunks. No database connection is held between chunks: a slow reader would occupy one of the few
    that all requests share.
    """
    size = CHUNK_OF_LARGE if set(fields) & set(representation.LARGE) else CHUNK
    executions = executions.order_by("-id").defer(*representation.unneeded_columns(fields))
    for rows in _all(executions, size) if windows is None else _found(executions, size, windows):
        connection.close()
        yield from (representation.listed(row, fields) for row in rows)
    connection.close()


def _all(executions: QuerySet[Execution], size: int) -> Iterator[list[Execution]]:
    rows = list(executions[:size])
    while rows:
        yield rows
        rows = list(executions.filter(id__lt=rows[-1].pk)[:size]) if len(rows) == size else []


def _found(executions: QuerySet[Execution], size: int, windows: Iterable[Window]) -> Iterator[list[Execution]]:
    for window in windows:
        for begin in range(0, len(window.ids), size):
            yield list(executions.filter(pk__in=window.ids[begin : begin + size]))


class Line:
    """A file for csv.writer whose `write` returns the line."""

    def write(self, line: str) -> str:
        return line


def as_csv(rows: Iterator[dict[str, Any]], fields: list[str]) -> Iterator[str]:
    writer = csv.writer(Line())
    yield writer.writerow(fields)
    for row in rows:
        yield writer.writerow(_cell(value) for value in row.values())


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return _dumps(value)
    if isinstance(value, str) and value.startswith(FORMULA):
        return "'" + value
    return value.isoformat() if hasattr(value, "isoformat") else value


def as_jsonl(rows: Iterator[dict[str, Any]], fields: list[str]) -> Iterator[str]:
    for row in rows:
        yield _dumps(row) + "\n"


def _dumps(value: Any) -> str:
    return json.dumps(value, cls=JSONEncoder, separators=(",", ":"))
