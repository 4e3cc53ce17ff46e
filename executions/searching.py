"""Full-text search of a history however long: in the order of ids, through one window of time after another.

The index holds, beside the words of an execution, whose it is and the span of time that its id is from, as
marks that no text can contain (see WORDS). So it finds a word within a window at the cost of what it finds: a
common word fills its page from a short window, and a rare one gets a long window soon. Without windows Postgres
must choose, by its guess of how common the words are, between reading all that match and walking back through
the history; whichever it chooses is slow for some words.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.postgres.search import SearchQueryField
from django.db import connection
from django.db.models import BooleanField, Func, QuerySet, Value
from django.db.models.functions import Cast

from clients.models import Client
from executions.models import Execution
from executions.models.execution import TERMINAL
from executions.models.lookup import MARK_DIGITS, mark_of_client, search_vector

LONGEST_TEXT = 500
# A window is counted in blocks: what the ids that share the longest mark have in common, 65 s.
BLOCK_BITS = 128 - 4 * MARK_DIGITS[-1]
# Of one window. More: it was too long.
MOST_IDS = 2000
# How a window follows from the one before: by what that found, and by the time it took, for phrases cost more than
# they find: whether words stand side by side is not in the index.
GROWTH = 16
QUICK_S, SLOW_S = 0.01, 0.08
START_BLOCKS = 16
NEWEST_S = 1.0


class Everybody:
    """Whose executions an auditor searches."""


Whose = Client | None | type[Everybody]


def whose(client: Client | None) -> Whose:
    """As ExecutionQuerySet.visible_to() has it."""
    return Everybody if client and client.sees_everything else client


@dataclass(frozen=True)
class Window:
    ids: list[UUID]  # what was found, in the order of the search
    last: UUID  # the last id that the window covers: what lies beyond is not searched yet
    next_span: int


class Search:
    def __init__(self, text: str, client: Whose, candidates: QuerySet[Execution] | None = None) -> None:
        """`candidates`: narrowed down by what has an index for sets, like labels. What has one for ranges or many
        rows, Postgres would try to combine with the words: filter what was found by it."""
        self._words = _parsed(text[:LONGEST_TEXT])
        self._client = client
        self._candidates = Execution.objects.all() if candidates is None else candidates

    def matching(self, first: int, last: int) -> QuerySet[Execution]:
        """The ended executions that match in these blocks, both included, in no order."""
        terms = [f"({self._words})", "|".join(f"'{mark}'" for mark in _marks(first, last + 1))]
        if self._client is not Everybody:
            terms.append(f"'{mark_of_client(self._client)}'")  # type: ignore[arg-type]
        query = Cast(Value(" & ".join(f"({term})" for term in terms)), SearchQueryField())
        matches = Func(search_vector(), query, template="(%(expressions)s)", arg_joiner=" @@ ")
        matches.output_field = BooleanField()
        return self._candidates.filter(matches, status__in=TERMINAL).order_by()

    def windows(
        self, *, oldest: UUID, newest: UUID, newest_first: bool = True, span: int = START_BLOCKS
    ) -> Iterator[Window]:
        """From one of these ids to the other, both included. Other clients' executions may be among what is found
        where ids are not whole: whoever shows them filters by client."""
        if not self._words:
            return
        first, last = oldest.int >> BLOCK_BITS, newest.int >> BLOCK_BITS
        while first <= last:
            begin, end = max(first, last - span + 1), min(last, first + span - 1)
            begin, end = (begin, last) if newest_first else (first, end)
            started = time.monotonic()
            ids = self.matching(begin, end).values_list("pk", flat=True)
            found = list(ids[: MOST_IDS + 1])
            if len(found) > MOST_IDS and end > begin:
                span = max(1, (end - begin + 1) // GROWTH)
                continue
            if len(found) > MOST_IDS:  # within a minute: all of them, then
                found = list(ids)
            took_s = time.monotonic() - started
            found = sorted((pk for pk in found if oldest <= pk <= newest), reverse=newest_first)
            if took_s < QUICK_S and len(found) * GROWTH <= MOST_IDS:
                span *= GROWTH
            elif took_s > SLOW_S:
                # Not for ever: where every query is slow, there must be progress.
                span = max(START_BLOCKS, span // 4)
            if newest_first:
                last = begin - 1
                yield Window(found, UUID(int=begin << BLOCK_BITS), span)
            else:
                first = end + 1
                yield Window(found, UUID(int=(first << BLOCK_BITS) - 1), span)


def _marks(begin: int, end: int) -> Iterator[str]:
    """The fewest that cover these blocks, without `end`."""
    while begin < end:
        for digits in MARK_DIGITS:
            size = 1 << 4 * (MARK_DIGITS[-1] - digits)
            if begin % size == 0 and begin + size <= end:
                yield f"@{begin // size:0{digits}x}"
                begin += size
                break


def _parsed(text: str) -> str:
    """A tsquery, as text; empty when nothing in it is a word."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT websearch_to_tsquery('simple', %s)::text", [text])
        words: str = cursor.fetchone()[0]
    return words


def extent(executions: QuerySet[Execution]) -> tuple[UUID, UUID] | None:
    """The oldest and the newest id among these: two looks at an index."""
    ids: Any = executions.order_by().values_list("pk", flat=True)
    oldest = ids.order_by("pk").first()
    return None if oldest is None else (oldest, ids.order_by("-pk").first())


def newest(text: str, executions: QuerySet[Execution], most: int = 500) -> tuple[list[UUID], bool]:
    """Ids of the newest of these that match, for who sees everything; and whether that is all of them."""
    whole = extent(Execution.objects.all())
    if whole is None:
        return [], True
    ids: list[UUID] = []
    deadline = time.monotonic() + NEWEST_S
    for window in Search(text, Everybody).windows(oldest=whole[0], newest=whole[1]):
        if len(ids) > most or time.monotonic() > deadline:
            return ids[:most], False
        if window.ids:
            ids += executions.filter(pk__in=window.ids).order_by("-pk").values_list("pk", flat=True)
    return ids[:most], len(ids) <= most
