from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from executions.models import Execution

LOOKED_AT = 1000


class EndpointFilter(admin.SimpleListFilter):
    """The endpoints of the latest executions: a DISTINCT over the whole table would read all of it."""

    title = "endpoint"
    parameter_name = "endpoint"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        latest = Execution.objects.order_by("-queued_at").values_list("endpoint", flat=True)[:LOOKED_AT]
        return [(name, name) for name in sorted(set(latest))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(endpoint=self.value()) if self.value() else queryset
