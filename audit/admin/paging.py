from typing import Any

from django.contrib import messages
from django.core.paginator import Page
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.views import ChangeList

from audit import queries
from audit.models import TrailEntry
from sandbox_platform.kit.generics import Paginator

# Of entries with a text, the list has the newest ones. The export has all.
LISTED = 300
CUT = f"Only the newest {LISTED} matches are listed. Search for more words or a shorter time to find older ones."
TOO_FREQUENT = "This text takes too long to find. Search for a longer text, or a shorter time."


class TrailPaginator(Paginator[Any]):
    """Finds a page's entries by their keys, and reads only these with their values before and after.

    `problem`: why the list is not whole, "" if it is.
    """

    problem = ""

    @cached_property
    def count(self) -> int:
        entries: Any = self.object_list
        if self._keys is not None:
            return len(self._keys)
        return entries.order_by().count() if entries.query.where else queries.number()

    @cached_property
    def _keys(self) -> list[str] | None:
        """Return the keys of all listed entries, if they must have a text; else None."""
        entries: Any = self.object_list
        if queries.TEXT not in entries.query.annotations:
            return None
        try:
            found = queries.newest(entries, LISTED + 1)
        except queries.TooFrequent:
            self.problem = TOO_FREQUENT
            return []
        self.problem = CUT if len(found) > LISTED else ""
        return found[:LISTED]

    def page(self, number: int | str) -> Page[Any]:
        number = self.validate_number(number)
        return Page(self.between((number - 1) * self.per_page, number * self.per_page), number, self)

    def between(self, begin: int, end: int) -> list[TrailEntry]:
        entries: Any = self.object_list
        keys = entries.values_list("pgh_slug", flat=True) if self._keys is None else self._keys
        return queries.named(keys[begin:end])


class PagedList(ChangeList):  # type: ignore[misc]
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.paginator.problem:
            messages.warning(request, self.paginator.problem)
        if not self.multi_page or self.show_all and self.can_show_all:
            # Django reads these past the paginator.
            self.result_list = self.paginator.between(0, self.result_count)
