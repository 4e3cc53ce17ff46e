"""The partitions of the history, where `manage.py partition_history` has made some (docs/scaling.md).

audit.partitions makes and drops them. Their functions in Postgres are of audit's migrations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection


@dataclass(frozen=True)
class Part:
    """A partition: ids from `low` to before `high`. The first has no low end; the last is for all that fit no other."""

    name: str
    low: UUID | None
    high: UUID | None

    @property
    def is_rest(self) -> bool:
        return self.high is None


def history_parts() -> list[Part]:
    """Return the partitions, oldest first; none where the history is one table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT part, low, high FROM history_parts()")
        return [Part(*row) for row in cursor.fetchall()]


def is_partitioned() -> bool:
    return bool(history_parts())


def bounds(among: Sequence[Part], first: UUID, last: UUID) -> dict[str, UUID]:
    """Return the filters of `pk` that leave Postgres the partitions of the ids `first` to `last`, and these whole.

    With the two ids themselves, it would combine the index of ids with others inside a partition.
    """
    filters = {}
    touched = [
        part for part in among if part.high and part.high > first and (part.low is None or part.low <= last)
    ]
    # Below the first month, and beyond the last, is what fits no partition.
    if touched and touched[0].low and touched[0].low <= first:
        filters["pk__gte"] = touched[0].low
    if touched and touched[-1].high and touched[-1].high > last:
        filters["pk__lt"] = touched[-1].high
    return filters
