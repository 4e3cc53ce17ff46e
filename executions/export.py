"""Exports executions as CSV or JSON lines, without a limit on their number."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from executions import representation
from executions.models import Execution
from executions.searching import Window
from sandbox_platform.kit.exports import as_download, csv_lines, json_lines

CHUNK = 500
CHUNK_OF_LARGE = 4  # rows with code and output, tens of megabytes each at worst


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


def download(
    executions: QuerySet[Execution], fields: list[str], kind: str, windows: Iterable[Window] | None = None
) -> StreamingHttpResponse:
    """`kind`: one of exports.MEDIA_TYPES; `fields`: of representation.LISTED."""
    rows = rows_of(executions, fields, windows)
    lines = csv_lines(fields, (row.values() for row in rows)) if kind == "csv" else json_lines(rows)
    return as_download("executions", kind, lines)
