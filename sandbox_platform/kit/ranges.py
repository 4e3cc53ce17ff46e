"""The time range of a page, kept in its address: `range`, or `since` and `until` in UTC."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

HOUR = timedelta(hours=1)
NAMED = {
    "1h": (HOUR, "Last hour"),
    "24h": (timedelta(hours=24), "24 hours"),
    "7d": (timedelta(days=7), "7 days"),
    "30d": (timedelta(days=30), "30 days"),
}
CUSTOM = "custom"
PARAMETERS = ("range", "since", "until")
# Parameters of a list that name one of its pages; another range has other pages.
PAGING = ("p", "e")
FORMAT = "Write the time as 2026-11-29T13:00, in UTC."


@dataclass(frozen=True)
class TimeRange:
    """`name`: of NAMED, CUSTOM, or "" for all times. `until` is exclusive. `problem`: what is wrong with the input."""

    name: str = ""
    since: datetime | None = None
    until: datetime | None = None
    problem: str = ""

    @classmethod
    def of(cls, request: HttpRequest, default: str = "") -> "TimeRange":
        """Return the range that the address names, else that of the name `default`."""
        since, until = request.GET.get("since", "").strip(), request.GET.get("until", "").strip()
        if since or until:
            try:
                return cls._custom(_parsed("since", since), _parsed("until", until))
            except ValueError as e:
                return cls._named(default, str(e))
        name = request.GET.get("range", "")
        return cls._named(name if name in NAMED else default)

    @classmethod
    def _custom(cls, since: datetime | None, until: datetime | None) -> "TimeRange":
        if since and until and since >= until:
            raise ValueError("since: Is not before until. Choose an earlier begin.")
        return cls(CUSTOM, since, until)

    @classmethod
    def _named(cls, name: str, problem: str = "") -> "TimeRange":
        if name not in NAMED:
            return cls(problem=problem)
        # Figures are counted by the hour: beyond an hour, lists begin with the same hour as they do.
        now = timezone.now().replace(second=0, microsecond=0)
        begin = now if name == "1h" else now.replace(minute=0)
        return cls(name, begin - NAMED[name][0], problem=problem)

    @property
    def words(self) -> str:
        if self.name != CUSTOM:
            return NAMED[self.name][1] if self.name else "All times"
        ends = (("from", self.since), ("to", self.until))
        return " ".join(f"{word} {at:%Y-%m-%d %H:%M}" for word, at in ends if at)

    @property
    def parameters(self) -> dict[str, str]:
        """Return the part of an address that names this range."""
        if self.name != CUSTOM:
            return {"range": self.name} if self.name else {}
        ends = {"since": self.since, "until": self.until}
        return {name: f"{at:%Y-%m-%dT%H:%M:%S}" for name, at in ends.items() if at}


def _parsed(name: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as e:
        raise ValueError(f"{name}: {text[:40]!r} is not a time. {FORMAT}") from e


def picker(
    request: HttpRequest, chosen: TimeRange, *, everything: bool, without: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the context of console/time_range.html.

    `everything`: whether all times may be chosen. `without`: parameters that another range makes void.
    """
    kept = request.GET.copy()
    for name in (*PARAMETERS, *PAGING, *without):
        kept.pop(name, None)

    def link(name: str, words: str) -> dict[str, Any]:
        query = kept.copy()
        if name:
            query["range"] = name
        return {"words": words, "query": query.urlencode(), "chosen": name == chosen.name}

    choices = [link("", "All times")] if everything else []
    return {
        "choices": choices + [link(name, words) for name, (_, words) in NAMED.items()],
        "hidden": [(name, value) for name, values in kept.lists() for value in values],
        "custom": chosen.name == CUSTOM,
        "since": _local(chosen.since),
        "until": _local(chosen.until),
        "problem": chosen.problem,
    }


def _local(at: datetime | None) -> str:
    """Format the time as `<input type="datetime-local">` wants it."""
    return f"{at:%Y-%m-%dT%H:%M}" if at else ""


class TimeRangeFilter(admin.ListFilter):
    """Filters a list by the range in its address. The page shows the picker; the filters' form only keeps the range."""

    title = "time"
    template = "console/time_range_kept.html"
    field = ""

    def __init__(self, request: HttpRequest, params: dict[str, list[str]], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        for name in PARAMETERS:
            if name in params:
                self.used_parameters[name] = params.pop(name)[-1]
        self.range = TimeRange.of(request)

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(PARAMETERS)

    def choices(self, changelist: Any) -> Any:
        if self.range.name:
            yield {
                "selected": True,
                "display": self.range.words,
                "query_string": "",
                "kept": self.range.parameters,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.range.problem:
            messages.error(request, self.range.problem)
        return self.within(queryset)

    def within(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        bounds = {f"{self.field}__gte": self.range.since, f"{self.field}__lt": self.range.until}
        return queryset.filter(**{lookup: at for lookup, at in bounds.items() if at})
