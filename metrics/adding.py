"""Adds events to the tallies of the counters and histograms that count them."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction

from metrics.counting import COUNTERS, EVENTS, HISTOGRAMS, RUNTIME, Counter, EventKind, Histogram
from metrics.models import Event, Tally
from runtimes.models import Runtime
from sandbox_platform.kit.locks import Lock

# Events in one transaction.
STEP = 5_000
TAKE = f"""
    DELETE FROM {Event._meta.db_table} WHERE id IN (SELECT id FROM {Event._meta.db_table} ORDER BY id LIMIT %s)
    RETURNING name, labels, amounts, times
"""  # noqa: S608
Key = tuple[str, tuple[str, ...]]
Row = tuple[str, list[str], list[float | None], int]


@dataclass
class Sum:
    value: float = 0
    buckets: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Alike:
    """Events of one kind with the same labels and amounts, and how many they are."""

    kind: EventKind
    labels: Mapping[str, str]
    amounts: Mapping[str, float | None]
    times: int


def add_up() -> int:
    """Add all events to their tallies; return how many they were. Do nothing while another process does it."""
    total = 0
    while number := _step():
        total += number
        if number < STEP:
            break
    return total


@transaction.atomic
def _step() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [Lock.METRICS])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(TAKE, [STEP])
        rows: list[Row] = cursor.fetchall()
    if rows:
        _store(_sums(rows))
    return len(rows)


def _sums(rows: Iterable[Row]) -> dict[Key, Sum]:
    sums: dict[Key, Sum] = {}
    for name, labels, amounts, times in rows:
        kind = EVENTS.get(name)
        if kind is None or len(labels) != len(kind.labels):
            continue  # of another release, during an upgrade
        same = Alike(
            kind,
            dict(zip(kind.labels, labels, strict=True)),
            dict(zip(kind.amounts, amounts, strict=False)),
            times,
        )
        _count(sums, same)
        _observe(sums, same)
    return sums


def _count(sums: dict[Key, Sum], events: Alike) -> None:
    for counter in COUNTERS:
        if counter.event is events.kind:
            amount = events.amounts.get(counter.amount) if counter.amount else 1.0
            one = sums.setdefault((counter.name, tuple(events.labels[name] for name in counter.labels)), Sum())
            # A clock that is set back between two phases must not lower a counter.
            one.value += max(amount or 0.0, 0.0) * events.times


def _observe(sums: dict[Key, Sum], events: Alike) -> None:
    for histogram in HISTOGRAMS:
        if histogram.event is not events.kind:
            continue
        base = tuple(events.labels[name] for name in histogram.labels)
        for name in histogram.amounts:
            amount = events.amounts.get(name)
            if amount is not None:
                key = (*base, name) if histogram.by else base
                one = sums.setdefault((histogram.name, key), Sum(buckets=_empty(histogram)))
                one.value += max(amount, 0.0) * events.times
                one.buckets[bisect_left(histogram.bounds, amount)] += events.times


def _empty(histogram: Histogram) -> list[int]:
    return [0] * (len(histogram.bounds) + 1)


def _store(sums: Mapping[Key, Sum]) -> None:
    stored = {
        (row.metric, tuple(row.labels)): row for row in Tally.objects.filter(metric__in={m for m, _ in sums})
    }
    rows = []
    for (metric, labels), one in sums.items():
        row = stored.get((metric, labels)) or Tally(metric=metric, labels=list(labels))
        if len(row.buckets) != len(one.buckets):  # new, or of a release with other bounds
            row.value, row.buckets = 0, [0] * len(one.buckets)
        row.value += one.value
        row.buckets = [before + more for before, more in zip(row.buckets, one.buckets, strict=True)]
        rows.append(row)
    Tally.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["metric", "labels"], update_fields=["value", "buckets"]
    )


def forget_runtimes() -> int:
    """Remove the tallies of runtimes that are deleted; return their number."""
    existing = {str(pk) for pk in Runtime.objects.values_list("pk", flat=True)}
    gone = [
        row.pk
        for metric, rows in _by_metric()
        if RUNTIME in labels_of(metric)
        for row in rows
        if row.labels[labels_of(metric).index(RUNTIME)] not in existing
    ]
    return Tally.objects.filter(pk__in=gone).delete()[0]


def _by_metric() -> Iterator[tuple[Counter | Histogram, list[Tally]]]:
    rows: dict[str, list[Tally]] = {}
    for row in Tally.objects.order_by("metric", "labels"):
        rows.setdefault(row.metric, []).append(row)
    for metric in (*COUNTERS, *HISTOGRAMS):
        # Those of a release with other labels do not count.
        yield metric, [row for row in rows.get(metric.name, []) if len(row.labels) == len(labels_of(metric))]


def labels_of(metric: Counter | Histogram) -> tuple[str, ...]:
    return metric.all_labels if isinstance(metric, Histogram) else metric.labels


def tallies() -> Iterator[tuple[Counter | Histogram, list[tuple[list[str], Tally]]]]:
    """Yield each counter and histogram with its tallies and their labels, runtimes by their slugs.

    Those of deleted runtimes are left out.
    """
    slugs: dict[str, Any] = {str(pk): slug for pk, slug in Runtime.objects.values_list("pk", "slug")}
    for metric, rows in _by_metric():
        names = labels_of(metric)
        at = names.index(RUNTIME) if RUNTIME in names else None
        shown = []
        for row in rows:
            labels = list(row.labels)
            if at is not None:
                if labels[at] not in slugs:
                    continue
                labels[at] = slugs[labels[at]]
            shown.append((labels, row))
        yield metric, shown
