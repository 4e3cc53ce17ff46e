from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.timezone import localtime
from unfold.contrib.filters.admin import TextFilter

from executions.admin import changelist
from executions.listing import filtered
from executions.models import Execution
from executions.models.ids import made_at
from sandbox_platform.kit.errors import InvalidField
from sandbox_platform.kit.ranges import TimeRangeFilter

LOOKED_AT = 1000
DURATIONS = {
    "100": "over 100 ms",
    "1000": "over 1 s",
    "5000": "over 5 s",
    "30000": "over 30 s",
    "300000": "over 5 min",
}


class EndpointFilter(admin.SimpleListFilter):
    """Offers the endpoints of the latest executions only: a DISTINCT over the whole table would read all of it."""

    title = "endpoint"
    parameter_name = "endpoint"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        latest = Execution.objects.order_by("-queued_at").values_list("endpoint", flat=True)[:LOOKED_AT]
        return [(name, name) for name in sorted(set(latest))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(endpoint=self.value()) if self.value() else queryset


class DurationFilter(admin.SimpleListFilter):
    title = "run time"
    parameter_name = "ran_over"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(DURATIONS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return filtered(queryset, {"min_duration_ms": int(value)}) if value in DURATIONS else queryset


class LabelFilter(TextFilter):  # type: ignore[misc]
    title = "label"
    parameter_name = "label"
    syntax = "name:value, for example user:admin"

    def choices(self, changelist: Any) -> Any:
        for choice in super().choices(changelist):
            field = choice["form"].fields[self.parameter_name]
            field.help_text = f"{self.syntax}."
            field.widget.attrs["placeholder"] = "name:value"
            yield choice

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        if ":" not in value:
            messages.error(request, f"label: Has no colon. Write {self.syntax}.")
            return queryset.none()
        try:
            return filtered(queryset, {"label": [value]})
        except InvalidField:
            return queryset.none()  # no execution can have such a label


class QueuedFilter(TimeRangeFilter):
    title = "queued"
    field = "queued_at"

    def within(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        bounds = {"queued_after": self.range.since, "queued_before": self.range.until}
        return filtered(queryset, {name: at for name, at in bounds.items() if at})


class BeforeFilter(admin.SimpleListFilter):
    """Filters by the id at which a search goes on, to which only a link of the search leads."""

    title = "older than"
    parameter_name = changelist.BEFORE

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        at = changelist.before(request)
        value = request.GET.get(self.parameter_name, "")
        return [(value, f"{localtime(made_at(at)):%Y-%m-%d %H:%M:%S}")] if at else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        at = changelist.before(request)
        return queryset.filter(pk__lt=at) if at else queryset
