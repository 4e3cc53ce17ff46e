"""The admin's list of executions: search, search hits, and dates to choose from, at a cost that large tables allow."""

import calendar
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.postgres.search import SearchHeadline, SearchQuery, SearchQueryField
from django.db.models import BooleanField, Case, Func, Max, Min, OrderBy, QuerySet, TextField, Value, When
from django.db.models.functions import Cast, Left
from django.http import HttpRequest
from django.utils.dates import MONTHS_3
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import localtime

from executions.models import Execution
from executions.models.ids import made_at
from executions.models.lookup import SEARCHED_CHARACTERS, SORT_KEYS
from executions.searching import newest, of_request, with_id_part
from sandbox_platform.kit.generics import ChangeList
from sandbox_platform.kit.ranges import PAGING, PARAMETERS, TimeRange

LONGEST_SEARCH = 500
# What the export of a search has at most, and how long it searches.
MOST_EXPORTED, EXPORT_S = 10_000, 10.0
# The parameter with the id at which a search goes on.
BEFORE = "before"
# Control characters that mark hits in Postgres's headline. They become <mark> after the text is escaped.
BEGIN, END = "\x02", "\x03"
TEXTS = ("code", "stdout", "stderr")
DATE_PARTS = tuple(f"queued_at__{unit}" for unit in ("year", "month", "day"))
# What another time range makes void.
VOID = (*DATE_PARTS, BEFORE)


def search(
    executions: QuerySet[Execution], words: str, request: HttpRequest, *, whole: bool = False
) -> tuple[QuerySet[Execution], UUID | None]:
    """Return the newest matching executions, and the id that the rest is before; None if these are all.

    `whole`: as many as a download may have, which takes longer than a page may.
    """
    words = words.replace("\0", " ").strip()[:LONGEST_SEARCH]
    if not words:
        return executions, None
    try:
        return executions.filter(pk__in={UUID(words), *of_request(words, executions)}), None
    except ValueError:
        since, until = _span(request)
        bounds: dict[str, Any] = {"since": since, "until": until, "before": before(request)}
        if whole:
            bounds |= {"most": MOST_EXPORTED, "seconds": EXPORT_S}
        ids, rest = newest(words.encode("utf-8", "replace").decode(), executions, **bounds)
        found = {*ids, *with_id_part(words, executions), *of_request(words, executions)}
        return executions.filter(pk__in=found), rest


def go_on(request: HttpRequest, rest: UUID) -> SafeString:
    """Return a message with a link to the matches before this id."""
    query = request.GET.copy()
    for name in PAGING:
        query.pop(name, None)
    query[BEFORE] = str(rest)
    return format_html(
        'These are the matches since {}. <a class="go-on" href="?{}">Search further back</a>, or add words.',
        f"{localtime(made_at(rest)):%Y-%m-%d %H:%M:%S}",
        query.urlencode(),
    )


def before(request: HttpRequest) -> UUID | None:
    """Return the id in the address at which a search goes on."""
    try:
        return UUID(request.GET.get(BEFORE, ""))
    except ValueError:
        return None


def _span(request: HttpRequest) -> tuple[datetime | None, datetime | None]:
    """Return the bounds of the time range in the address, or of its date."""
    chosen = TimeRange.of(request)
    year, month, day = (request.GET.get(part, "") for part in DATE_PARTS)
    if chosen.since or chosen.until or not year:
        return chosen.since, chosen.until
    try:
        begin = datetime(int(year), int(month or 1), int(day or 1), tzinfo=UTC)
        span = timedelta(days=1 if day else _days(int(year), int(month)) if month else 366)
        return begin, begin + span
    except (ValueError, OverflowError):
        return None, None


# The order of each column that can be sorted: those with an index in this order. For others there are filters.
ORDERS: dict[str, Any] = {
    "short_id": "id",
    "queued": "queued_at",
    "duration": SORT_KEYS["duration"],
    "memory": SORT_KEYS["peak_memory_bytes"],
}


class ExecutionList(ChangeList):  # type: ignore[misc]
    def get_ordering_field(self, field_name: str) -> Any:
        return ORDERS.get(field_name)

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        ordering: list[Any] = list(super().get_ordering(request, queryset))
        first = ordering[0]
        # Postgres reads an index forwards or backwards: ties are sorted in the same direction.
        if ordering[-1] == "-pk" and isinstance(first, OrderBy) and not first.descending:
            ordering[-1] = "pk"
        return ordering

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.query:
            words = self.query.replace("\0", " ")[:LONGEST_SEARCH].encode("utf-8", "replace").decode()
            hits = _hits([execution.pk for execution in self.result_list], words)
            for execution in self.result_list:
                execution.hits = hits.get(execution.pk, {})


def _hits(keys: list[UUID], words: str) -> dict[UUID, dict[str, str]]:
    """Return the hits of each ended execution, by text. An open one may still hold its secrets."""
    every = SearchQuery(words, config="simple", search_type="websearch")
    headlines = {f"hit_{name}": _headline(name, every, _any_of(words)) for name in TEXTS}
    rows = Execution.objects.filter(pk__in=keys, finished_at__isnull=False).order_by()
    found = rows.annotate(**headlines).values_list("pk", *headlines)
    return {pk: {name: hit for name, hit in zip(TEXTS, hits, strict=True) if BEGIN in hit} for pk, *hits in found}


def _headline(name: str, every: Any, any_of: Any) -> Case:
    """Return an expression for the hit in one text: of all words, or of some if others are in the other texts."""
    text = Left(name, SEARCHED_CHARACTERS)
    options: dict[str, Any] = {
        "config": "simple", "start_sel": BEGIN, "stop_sel": END, "max_fragments": 1, "max_words": 14, "min_words": 6,
    }  # fmt: skip
    vector = Func(Value("simple"), text, function="to_tsvector", template="%(function)s(%(expressions)s)")
    has_all = Func(vector, every, template="(%(expressions)s)", arg_joiner=" @@ ", output_field=BooleanField())
    return Case(
        When(has_all, then=SearchHeadline(text, every, **options)),
        default=SearchHeadline(text, any_of, **options),
        output_field=TextField(),
    )


def _any_of(words: str) -> Cast:
    """Return a query that any of the words satisfies."""
    parsed = Func(
        Value("simple"),
        Value(words),
        function="websearch_to_tsquery",
        template="%(function)s(%(expressions)s)::text",
    )
    return Cast(Func(parsed, Value(" & "), Value(" | "), function="replace"), SearchQueryField())


def marked(hits: dict[str, str]) -> SafeString:
    """Return the hits, each with the name of its text, with their marks as <mark>."""
    shown = format_html_join("", '<span class="hit"><b>{}</b> {}</span>', hits.items())
    # One element holds all: on a phone, each child of a cell becomes a box.
    escaped = str(format_html("<span>{}</span>", shown))
    return mark_safe(escaped.replace(BEGIN, "<mark>").replace(END, "</mark>"))  # noqa: S308


def drill_down(request: HttpRequest) -> list[dict[str, Any]]:
    """Return links to years, months and days within the bounds of the history.

    Dates without executions are included: finding them would read every row.
    """
    field = "queued_at"
    wanted = {unit: request.GET.get(f"{field}__{unit}", "") for unit in ("year", "month", "day")}
    bounds = Execution.objects.aggregate(first=Min(field), last=Max(field))
    if bounds["first"] is None:
        return []
    # A date and a time range exclude each other.
    void = (*DATE_PARTS, *PARAMETERS, *PAGING, BEFORE)
    other = {name: values for name, values in request.GET.lists() if name not in void}

    def link(title: object, chosen: bool, **units: object) -> dict[str, Any]:
        query = request.GET.copy()
        query.clear()
        for name, values in other.items():
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
