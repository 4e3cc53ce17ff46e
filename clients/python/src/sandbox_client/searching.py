"""What `search` looks for, as the API wants it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict

from sandbox_client.models import Execution

PAGE = 100


class Filters(TypedDict, total=False):
    """What `search` looks for; all must match."""

    client: str
    """Name of a client, for callers who see all executions."""
    runtime: str
    status: str
    outcome: str
    labels: Mapping[str, str]
    batch: str
    request_id: str
    queued_after: datetime | str
    queued_before: datetime | str
    min_duration_ms: int
    max_duration_ms: int
    ordering: str
    """`-queued_at` by default: newest first."""
    fields: Iterable[str]
    """Fields to return. By default all but the large ones: name `stdout` to get it."""


def query_of(words: str, filters: Filters, limit: int | None) -> list[tuple[str, str]]:
    """Return the parameters of the first page."""
    query = [("limit", str(PAGE if limit is None else max(1, min(limit, PAGE))))]
    if words:
        query.append(("q", words))
    for name, value in filters.items():
        if isinstance(value, Mapping):
            query += [("label", f"{label}:{wanted}") for label, wanted in value.items()]
        elif isinstance(value, datetime):
            query.append((name, value.isoformat()))
        elif isinstance(value, Iterable) and not isinstance(value, str):
            query.append((name, ",".join(value)))
        elif value is not None:
            query.append((name, str(value)))
    return query


def page_of(raw: Any) -> tuple[list[Execution], str]:
    """Return the executions of a page and the path of the next one, empty after the last."""
    return [Execution.parse(it) for it in raw["results"]], (raw["next"] or "").removeprefix("/api/v1")
