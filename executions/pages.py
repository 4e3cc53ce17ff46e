"""Reads one page of a list: in the list's order, or, for a text search, through the windows of the search."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from clients.models import Client
from executions.listing import BY_TIME, Order, filtered, labelled
from executions.models import Execution
from executions.models.ids import ID_IS_EARLIER, first_id
from executions.searching import START_BLOCKS, Search, Window, extent, search_scope
from executions.sizes import groups
from sandbox_platform.kit.errors import InvalidField

# After this time a page ends early, and its cursor continues the search.
BUDGET_S = 0.1
# Caps for a search sorted by another key than the time, which must find all matches first.
MOST_SORTED = 5000
SORT_BUDGET_S = 1.0


def page(
    visible: QuerySet[Execution],
    form: dict[str, Any],
    caller: Client | None,
    large: Sequence[str] = (),
    reading: Callable[[int], None] = lambda size: None,
) -> tuple[list[Execution], str | None]:
    """Return the page's rows and the cursor of the next page, if any.

    `visible` holds the executions that the caller may see, with the columns to read. `large`: those of them that may be
    large. The page then ends early, at SANDBOX_MAX_PAGE, and `reading` is called with their bytes before they are read.
    """
    if not large:
        return _page(visible, form, caller)
    found, cursor = _page(visible.defer(*large), form, caller)
    if not found:
        return found, cursor
    kept, size = next(groups([row.pk for row in found], large))
    reading(size)
    if len(kept) < len(found):
        cursor = Order(form["ordering"]).cursor(found[len(kept) - 1])
    rows = visible.in_bulk(kept)
    return [rows[pk] for pk in kept if pk in rows], cursor


def _page(
    visible: QuerySet[Execution], form: dict[str, Any], caller: Client | None
) -> tuple[list[Execution], str | None]:
    order, limit, cursor = Order(form["ordering"]), form["limit"], form.get("cursor")
    rows = filtered(visible, form)
    if not form.get("q"):
        found = list(order.apply(rows, cursor)[: limit + 1])
    elif order.is_by_time:
        found = []
        deadline = time.monotonic() + BUDGET_S
        for window in found_windows(form, caller, order):
            if window.ids:
                found += order.apply(rows.filter(pk__in=window.ids), cursor)[: limit + 1 - len(found)]
            if len(found) > limit:
                break
            if time.monotonic() > deadline:
                return found, order.cursor_at(window.last, span=window.next_span)
    else:
        found = list(order.apply(rows.filter(pk__in=_all_found(rows, form, caller)), cursor)[: limit + 1])
    if len(found) <= limit:
        return found, None
    found.pop()
    return found, order.cursor(found[-1])


def found_windows(form: dict[str, Any], caller: Client | None, order: Order) -> Iterator[Window]:
    """Yield the windows of the text search, within the time bounds. Of the other filters, only labels are applied."""
    whole = extent(Execution.objects.visible_to(caller))
    if whole is None:
        return
    oldest, newest = whole
    span = START_BLOCKS
    if "queued_after" in form:
        oldest = max(oldest, first_id(form["queued_after"] - ID_IS_EARLIER))
    if "queued_before" in form:
        newest = min(newest, first_id(form["queued_before"]))
    if (cursor := form.get("cursor")) and order.is_by_time:
        row, span = order.position(cursor)
        position = row.int  # this row was on the previous page
        if order.is_newest_first:
            newest = min(newest, UUID(int=max(position - 1, 0)))
        else:
            oldest = max(oldest, UUID(int=min(position + 1, 2**128 - 1)))
    search = Search(form["q"], search_scope(caller), Execution.objects.filter(*labelled(form)))
    yield from search.windows(oldest=oldest, newest=newest, newest_first=order.is_newest_first, span=span)


def _all_found(rows: QuerySet[Execution], form: dict[str, Any], caller: Client | None) -> list[UUID]:
    ids: list[UUID] = []
    deadline = time.monotonic() + SORT_BUDGET_S
    whole = {name: value for name, value in form.items() if name != "cursor"}
    for window in found_windows(whole, caller, Order(f"-{BY_TIME}")):
        if len(ids) > MOST_SORTED or time.monotonic() > deadline:
            raise InvalidField(
                "ordering",
                "Too many executions match for this ordering.",
                "Bound the time with queued_after and queued_before, or order by queued_at.",
            )
        if window.ids:
            ids += rows.filter(pk__in=window.ids).order_by().values_list("pk", flat=True)
    return ids
