"""The admin's list of executions: search, search hits, and dates to choose from, at a cost that large tables allow."""

import calendar
from typing import Any
from uuid import UUID

from django.contrib.postgres.search import SearchHeadline, SearchQuery
from django.db.models import Max, Min, QuerySet, TextField, Value
from django.db.models.functions import Concat, Left
from django.http import HttpRequest
from django.utils.dates import MONTHS_3
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from unfold.views import ChangeList

from executions.models import Execution
from executions.models.lookup import SEARCHED_CHARACTERS
from executions.searching import newest

LONGEST_SEARCH = 500
# Control characters that mark hits in Postgres's headline. They become <mark> after the text is escaped.
BEGIN, END = "\x02", "\x03"


def search(executions: QuerySet[Execution], words: str) -> tuple[QuerySet[Execution], bool]:
    """Return the matching executions, and whether these are all. Of many matches, return the newest."""
    words = words.replace("\0", " ").strip()[:LONGEST_SEARCH]
    if not words:
        return executions, True
    try:
        return executions.filter(pk=UUID(words)), True
    except ValueError:
        ids, whole = newest(words.encode("utf-8", "replace").decode(), executions)
        return executions.filter(pk__in=ids), whole


class ExecutionList(ChangeList):  # type: ignore[misc]
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.query:
            hits = self._hits([execution.pk for execution in self.result_list])
            for execution in self.result_list:
                execution.hit = hits.get(execution.pk, "")

    def _hits(self, keys: list[UUID]) -> dict[UUID, str]:
        """Return the search hit of each ended execution on this page. An open one may still hold its secrets."""
        newline = Value("\n")
        texts = [Left(name, SEARCHED_CHARACTERS) for name in ("code", "stdout", "stderr")]
        words = self.query.replace("\0", " ")[:LONGEST_SEARCH].encode("utf-8", "replace").decode()
        headline = SearchHeadline(
            Concat(texts[0], newline, texts[1], newline, texts[2], output_field=TextField()),
            SearchQuery(words, config="simple", search_type="websearch"),
            config="simple", start_sel=BEGIN, stop_sel=END, max_fragments=1, max_words=14, min_words=6,
        )  # fmt: skip
        return dict(
            Execution.objects.filter(pk__in=keys, finished_at__isnull=False)
            .order_by()
            .annotate(hit=headline)
            .values_list("pk", "hit")
        )


def marked(hit: str) -> SafeString:
    escaped = str(format_html("{}", hit))
    # Wrap all in one element: on a phone, each child of a cell becomes a box.
    return mark_safe(f"<span>{escaped.replace(BEGIN, '<mark>').replace(END, '</mark>')}</span>")  # noqa: S308


def drill_down(request: HttpRequest) -> list[dict[str, Any]]:
    """Return links to years, months and days within the bounds of the history.

    Dates without executions are included: finding them would read every row.
    """
    field = "queued_at"
    wanted = {unit: request.GET.get(f"{field}__{unit}", "") for unit in ("year", "month", "day")}
    bounds = Execution.objects.aggregate(first=Min(field), last=Max(field))
    if bounds["first"] is None:
        return []
    other = {name: values for name, values in request.GET.lists() if not name.startswith(f"{field}__")}

    def link(title: object, chosen: bool, **units: object) -> dict[str, Any]:
        query = request.GET.copy()
        query.clear()
        for name, values in other.items():
            if name != "p":
                query.setlist(name, values)
        for unit, value in units.items():
            query[f"{field}__{unit}"] = str(value)
        return {"title": title, "chosen": chosen, "query": query.urlencode()}

    year, month = wanted["year"], wanted["month"]
    steps = [link("All dates", not year)]
    if not year.isdigit():
        years = range(bounds["first"].year, bounds["last"].year + 1)
        return steps + [link(number, False, year=number) for number in years]
    steps.append(link(year, not month, year=year))
    if not (month.isdigit() and 1 <= int(month) <= 12):
        return steps + [link(MONTHS_3[number], False, year=year, month=number) for number in range(1, 13)]
    name = MONTHS_3[int(month)]
    steps.append(link(name, not wanted["day"], year=year, month=month))
    days = range(1, _days(int(year), int(month)) + 1)
    return steps + [
        link(number, str(number) == wanted["day"], year=year, month=month, day=number) for number in days
    ]


def _days(year: int, month: int) -> int:
    return calendar.monthrange(min(max(year, 1), 9999), month)[1]
