from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from executions.models import Execution

LOOKED_AT = 1000
PERIODS = {
    "1h": ("Last hour", timedelta(hours=1)),
    "1d": ("Last 24 hours", timedelta(days=1)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "31d": ("Last 31 days", timedelta(days=31)),
}


class PeriodFilter(admin.SimpleListFilter):
    """Not the admin's hierarchy of dates, which reads the whole history to know what to offer."""

    title = "time"
    parameter_name = "period"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, label) for name, (label, _) in PERIODS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        period = PERIODS.get(self.value() or "")
        return queryset.filter(queued_at__gte=timezone.now() - period[1]) if period else queryset


class EndpointFilter(admin.SimpleListFilter):
    """The endpoints of the latest executions: a DISTINCT over the whole table would read all of it."""

    title = "endpoint"
    parameter_name = "endpoint"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        latest = Execution.objects.order_by("-queued_at").values_list("endpoint", flat=True)[:LOOKED_AT]
        return [(name, name) for name in sorted(set(latest))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(endpoint=self.value()) if self.value() else queryset
