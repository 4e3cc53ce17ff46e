"""Full-text search of a history of any length, in the order of ids, through successive windows of time.

Beside an execution's words, the index holds its client and the time spans of its id, as marks that no text can
contain (see lookup.WORDS). A search within a window therefore costs only as much as it finds: a common word fills its
page from a short window, and for a rare word the windows soon become long. Without windows, Postgres must choose by
its estimate of the words' frequency between reading all matches and walking back through the history, and either is
slow for some words.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib.postgres.search import SearchQueryField
from django.db import connection
from django.db.models import BooleanField, Func, QuerySet, Value
from django.db.models.functions import Cast

from clients.models import Client
from executions.models import Execution
from executions.models.execution import TERMINAL
from executions.models.ids import ID_IS_EARLIER, SHORT, digits_of, first_id, ids_from
from executions.models.lookup import MARK_DIGITS, last_digits, mark_of_client, search_vector
from executions.parts import Part, bounds, history_parts

LONGEST_TEXT = 500
# Windows are measured in blocks. The ids of one block share the longest mark and span 65 s.
BLOCK_BITS = 128 - 4 * MARK_DIGITS[-1]
# A window with more matches was too long.
MOST_IDS = 2000
# The next window's length depends on what the last one found and on how long that took. The time matters for phrases,
# which cost more than they find: the index does not know whether words are adjacent.
GROWTH = 16
QUICK_S, SLOW_S = 0.01, 0.08
START_BLOCKS = 16
# A page of the newest matches searches for this long. Where it ended, the next one goes on; who asks for that, waits.
NEWEST_S, FURTHER_S = 0.2, 1.0


class AllClients:
    """The scope of an auditor's search."""


SearchScope = Client | None | type[AllClients]


def search_scope(client: Client | None) -> SearchScope:
    """Return whose executions a caller may search, as in ExecutionQuerySet.visible_to()."""
    return AllClients if client and client.sees_everything else client


@dataclass(frozen=True)
class Window:
    ids: list[UUID]  # the matches, in the order of the search
    last: UUID  # the last id that the window covers; ids beyond it are not searched yet
    next_span: int


class Search:
    def __init__(self, text: str, scope: SearchScope, candidates: QuerySet[Execution] | None = None) -> None:
        """Search `candidates`, which may be filtered only by columns with a GIN index, such as labels.

        Postgres would try to combine B-tree indexes with the words: apply such filters to the matches instead.
        """
        self._words = _parsed(text[:LONGEST_TEXT])
        self._scope = scope
        self._candidates = Execution.objects.all() if candidates is None else candidates

    def matching(self, first: int, last: int) -> QuerySet[Execution]:
        """Return the ended executions that match in the blocks `first` to `last`, inclusive, unordered."""
        terms = [f"({self._words})", "|".join(f"'{mark}'" for mark in _marks(first, last + 1))]
        if self._scope is not AllClients:
            terms.append(f"'{mark_of_client(self._scope)}'")  # type: ignore[arg-type]
        query = Cast(Value(" & ".join(f"({term})" for term in terms)), SearchQueryField())
        matches = Func(search_vector(), query, template="(%(expressions)s)", arg_joiner=" @@ ")
        matches.output_field = BooleanField()
        # Each partition has an index of its own, and the marks do not tell Postgres which of them to leave out.
        only = bounds(self._parts, _first_id(first), _last_id(last))
        return self._candidates.filter(matches, status__in=TERMINAL, **only).order_by()

    @cached_property
    def _parts(self) -> list[Part]:
        return history_parts()

    def windows(
        self, *, oldest: UUID, newest: UUID, newest_first: bool = True, span: int = START_BLOCKS
    ) -> Iterator[Window]:
        """Yield the windows between the two ids, inclusive.

        Matches may include other clients' executions: filter by client before showing them.
        """
        if not self._words:
            return
        first, last = oldest.int >> BLOCK_BITS, newest.int >> BLOCK_BITS
        while first <= last:
            begin, end = _window(first, last, span, newest_first)
            started = time.monotonic()
            ids = self.matching(begin, end).values_list("pk", flat=True)
            found = list(ids[: MOST_IDS + 1])
            if len(found) > MOST_IDS and end > begin:
                span = max(1, (end - begin + 1) // GROWTH)
                continue
            if len(found) > MOST_IDS:  # a single block cannot be split: take all its matches
                found = list(ids)
            took_s = time.monotonic() - started
            found = sorted((pk for pk in found if oldest <= pk <= newest), reverse=newest_first)
            if took_s < QUICK_S and len(found) * GROWTH <= MOST_IDS:
                span *= GROWTH
            elif took_s < SLOW_S / 4 and len(found) * 4 <= MOST_IDS:
                span *= 4
            elif took_s > SLOW_S:
                # Keep a minimum, so that the search progresses even where every query is slow.
                span = max(START_BLOCKS, span // 4)
            if newest_first:
                last = begin - 1
                yield Window(found, _first_id(begin), span)
            else:
                first = end + 1
                yield Window(found, _last_id(end), span)


def _first_id(block: int) -> UUID:
    return UUID(int=block << BLOCK_BITS)


def _last_id(block: int) -> UUID:
    return UUID(int=(block + 1 << BLOCK_BITS) - 1)


def _window(first: int, last: int, span: int, newest_first: bool) -> tuple[int, int]:
    """Return the begin and end of the next window. It may be longer than `span`, to end where a long mark does.

    Each mark is a lookup in the index, so a window should take few.
    """
    unit = max(size for size in (1 << 4 * power for power in range(len(MARK_DIGITS))) if size <= max(span, 1))
    if newest_first:
        begin = last - span + 1
        return max(first, begin - begin % unit), last
    end = first + span - 1
    return first, min(last, end + unit - 1 - end % unit)


def _marks(begin: int, end: int) -> Iterator[str]:
    """Yield the smallest set of marks that covers the blocks from `begin` to before `end`."""
    while begin < end:
        for digits in MARK_DIGITS:
            size = 1 << 4 * (MARK_DIGITS[-1] - digits)
            if begin % size == 0 and begin + size <= end:
                yield f"@{begin // size:0{digits}x}"
                begin += size
                break


def _parsed(text: str) -> str:
    """Return the text as a tsquery; "" if it contains no words."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT websearch_to_tsquery('simple', %s)::text", [text])
        words: str = cursor.fetchone()[0]
    return words


def extent(executions: QuerySet[Execution]) -> tuple[UUID, UUID] | None:
    """Return the oldest and the newest id of the executions, by two index lookups; None without any."""
    ids: Any = executions.order_by().values_list("pk", flat=True)
    oldest = ids.order_by("pk").first()
    return None if oldest is None else (oldest, ids.order_by("-pk").first())


def newest(
    text: str,
    executions: QuerySet[Execution],
    most: int = 500,
    *,
    seconds: float | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before: UUID | None = None,
) -> tuple[list[UUID], UUID | None]:
    """Return the ids of the newest matches among `executions`, at most `most`, and the id that the rest is before.

    That is None if there is no rest. `before` is such an id. Searches all clients' executions; the bounds only spare
    what `executions` does not have.
    """
    if seconds is None:
        seconds = FURTHER_S if before else NEWEST_S
    whole = extent(Execution.objects.all())
    if whole is None:
        return [], None
    oldest = max(whole[0], first_id(since, -ID_IS_EARLIER)) if since else whole[0]
    latest = min(whole[1], first_id(until, timedelta(milliseconds=1))) if until else whole[1]
    latest = min(latest, UUID(int=before.int - 1)) if before and before.int else latest
    ids: list[UUID] = []
    started = time.monotonic()
    for window in Search(text, AllClients).windows(oldest=oldest, newest=latest):
        if window.ids:
            ids += executions.filter(pk__in=window.ids).order_by("-pk").values_list("pk", flat=True)
        if len(ids) > most:
            return ids[:most], ids[most - 1]
        if time.monotonic() - started > seconds and window.last > oldest:
            return ids, window.last
    return ids, None


def with_id_part(text: str, executions: QuerySet[Execution], most: int = 500) -> list[UUID]:
    """Return the newest ids among `executions` that begin with the text, or end with it as a short id does."""
    digits = digits_of(text)
    if not digits:
        return []
    newest_first = executions.order_by("-pk").values_list("pk", flat=True)
    found = list(newest_first.filter(pk__range=ids_from(digits))[:most])
    if len(digits) >= SHORT:
        ends = newest_first.annotate(short=last_digits()).filter(short=digits[-SHORT:])[:most]
        found += [pk for pk in ends if pk.hex.endswith(digits)]
    return found


def of_request(request_id: str, executions: QuerySet[Execution], most: int = 500) -> list[UUID]:
    """Return the newest ids among `executions` that one request submitted."""
    mine = executions.filter(request_id=request_id).exclude(request_id="")
    return list(mine.order_by("-pk").values_list("pk", flat=True)[:most])
