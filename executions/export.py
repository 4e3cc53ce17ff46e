"""Exports executions as CSV or JSON lines, without a limit on their number."""

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from executions import representation
from executions.models import Execution
from executions.places import PageOf
from executions.searching import Window
from executions.sizes import groups
from sandbox_platform.kit import acts
from sandbox_platform.kit.acts import Kind
from sandbox_platform.kit.exports import as_download, csv_lines, json_lines

CHUNK = 500


def rows_of(
    executions: QuerySet[Execution], fields: list[str], windows: Iterable[Window] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the fields of each execution, newest first, or of those in the `windows` of a search.

    Rows are read in chunks. No database connection is held between chunks: a slow reader would occupy one of the few
    that all requests share.
    """
    executions = executions.order_by("-id").defer(*representation.unneeded_columns(fields))
    large = representation.large_columns(fields)
    for ids in _all(executions) if windows is None else _found(executions, windows):
        for group, _ in groups(ids, large) if large else ((ids, 0),):
            rows = list(executions.filter(pk__in=group))
            connection.close()
            yield from (representation.listed(row, fields) for row in rows)
    connection.close()


def _all(executions: QuerySet[Execution]) -> Iterator[list[UUID]]:
    ids = list(executions.values_list("pk", flat=True)[:CHUNK])
    while ids:
        yield ids
        following = executions.filter(id__lt=ids[-1]).values_list("pk", flat=True)
        ids = list(following[:CHUNK]) if len(ids) == CHUNK else []


def _found(executions: QuerySet[Execution], windows: Iterable[Window]) -> Iterator[list[UUID]]:
    for window in windows:
        for begin in range(0, len(window.ids), CHUNK):
            chunk = executions.filter(pk__in=window.ids[begin : begin + CHUNK])
            yield list(chunk.values_list("pk", flat=True))


# Texts of an execution that an answer about it holds.
ANSWERED = ("code", "arguments", "stdin", "stdout", "stderr", "result")


def download(
    executions: QuerySet[Execution],
    fields: list[str],
    kind: str,
    windows: Iterable[Window] | None = None,
    reader: int | None = None,
    *,
    http: Any,
) -> StreamingHttpResponse:
    """`kind`: one of exports.MEDIA_TYPES; `fields`: of representation.LISTED; `reader`: the id of the client, if any.

    `http`: the request, whose sender the trail records. Raises TooManyLargePages.
    """
    place = PageOf(reader)
    if representation.large_columns(fields):
        place.take()
    after = {"format": kind, "columns": ", ".join(fields), **acts.query_of(http)}
    acts.done(Kind.EXPORTED, "executions", http=http, after=after)
    rows = rows_of(executions, fields, windows)
    lines = csv_lines(fields, (row.values() for row in rows)) if kind == "csv" else json_lines(rows)
    response = as_download("executions", kind, lines)
    place.keep_until_closed(response)
    return response


def record_download(execution: Execution, what: str, size: int, *, http: Any) -> None:
    """Record in the trail that the sender of the request gets this part of an execution, of `size` bytes."""
    name = f"{what} of execution {execution.pk}"
    acts.done(Kind.DOWNLOADED, name, execution.pk, http=http, behalf=execution.behalf, after={"bytes": size})


def record_read(execution: Execution, *, http: Any) -> None:
    """Record that another client than the execution's gets its code and output in an answer of the API."""
    size = sum(len((getattr(execution, name) or "").encode("utf-8", "surrogatepass")) for name in ANSWERED)
    record_download(execution, "code and output", size, http=http)


def record_page(fields: list[str], *, http: Any) -> None:
    """Record that a client that sees everything gets a page of the list, if it holds code or output."""
    if large := [name for name in fields if name in ANSWERED]:
        after = {"columns": ", ".join(large), **acts.query_of(http)}
        acts.done(Kind.EXPORTED, "page of executions", http=http, after=after)
