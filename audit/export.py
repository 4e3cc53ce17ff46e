"""Export the audit trail as CSV or JSON lines, oldest first, in constant memory."""

import heapq
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Q, QuerySet
from django.http import StreamingHttpResponse

from audit.models import TrailEntry
from audit.models.changes import EVENTS
from sandbox_platform.kit import acts
from sandbox_platform.kit.acts import Kind
from sandbox_platform.kit.exports import as_download, csv_lines, json_lines

CSV_COLUMNS = (
    "time", "object", "object_id", "change", "column", "before", "after",
    "who", "where", "url", "database_role", "application", "on_behalf_of",
)  # fmt: skip
# Rows read per watched table at a time. A change of a seccomp profile has tens of kilobytes, before and after.
CHUNK = 20


def with_persons(entries: Iterable[TrailEntry]) -> Iterator[TrailEntry]:
    """Yield the entries, those of rows that name a user by number with its name: `person`."""
    listed = [(entry, int((entry.pgh_data or {}).get("user_id") or 0)) for entry in entries]
    numbers = {user for _, user in listed if user}
    names = dict(User.objects.filter(pk__in=numbers).values_list("pk", "username")) if numbers else {}
    for entry, user in listed:
        name = names.get(user)
        entry.person = f"user {name}" if name else ""  # type: ignore[attr-defined]
        yield entry


def within(since: datetime | None, until: datetime | None) -> Q:
    bounds = Q()
    if since:
        bounds &= Q(pgh_created_at__gte=since)
    if until:
        bounds &= Q(pgh_created_at__lt=until)
    return bounds


def in_order(entries: "QuerySet[TrailEntry]") -> Iterator[TrailEntry]:
    """Yield the entries ordered by time, merged from all watched tables.

    Each table is read along its own index, one chunk at a time. No database connection is held between two chunks:
    a slow reader would keep one of the few that all requests share.
    """
    streams = (_table_entries(entries, event) for event in EVENTS)
    return heapq.merge(*streams, key=lambda entry: (entry.pgh_created_at, entry.pgh_slug))


def _table_entries(entries: Any, event: Any) -> Iterator[TrailEntry]:
    rows = entries.across(event).order_by("pgh_id")
    last = 0
    while chunk := list(rows.filter(pgh_id__gt=last)[:CHUNK]):
        _release_connection()
        yield from chunk
        if len(chunk) < CHUNK:
            return
        last = chunk[-1].pgh_id
    _release_connection()


def _release_connection() -> None:
    if not connection.in_atomic_block:  # a transaction of the caller needs its connection
        connection.close()


def download(entries: "QuerySet[TrailEntry]", kind: str, *, http: Any) -> StreamingHttpResponse:
    """Return the entries as a download. `kind`: one of exports.MEDIA_TYPES; `http`: the request, for the trail."""
    acts.done(Kind.EXPORTED, "audit trail", http=http, after={"format": kind, **acts.query_of(http)})
    return as_download("audit-trail", kind, lines(in_order(entries), kind))


def lines(entries: Iterable[TrailEntry], kind: str) -> Iterator[str]:
    return csv_lines(CSV_COLUMNS, _by_column(entries)) if kind == "csv" else json_lines(map(_as_change, entries))


def _by_column(entries: Iterable[TrailEntry]) -> Iterator[tuple[Any, ...]]:
    """Yield one row per changed column, in the order of CSV_COLUMNS."""
    for entry in entries:
        session = entry.session
        for column, (old, new) in entry.changes.items():
            yield (
                entry.pgh_created_at, entry.what, entry.pgh_obj_id, entry.code,
                column, _text(old), _text(new),
                entry.who, entry.where, entry.url, session.get("role"), session.get("application"), entry.behalf,
            )  # fmt: skip


def _as_change(entry: TrailEntry) -> dict[str, Any]:
    session = entry.session
    return {
        "time": entry.pgh_created_at.isoformat(),
        "object": entry.what,
        "object_type": entry.pgh_obj_model,
        "object_id": entry.pgh_obj_id,
        "change": entry.code,
        "columns": {name: {"before": old, "after": new} for name, (old, new) in entry.changes.items()},
        "who": entry.who,
        "on_behalf_of": entry.behalf,
        "where": entry.where,
        "url": entry.url,
        "database_role": session.get("role"),
        "application": session.get("application"),
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
