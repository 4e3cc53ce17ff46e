"""The last day in figures: of a client, or of all for who sees all."""

from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import Count
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from api.v1 import schema
from api.v1.base import ApiView

WINDOW = timedelta(hours=24)
MEASURES = {
    "run_ms": "extract(epoch FROM ended_at - started_at) * 1000",
    "queue_ms": "extract(epoch FROM claimed_at - queued_at) * 1000",
    "total_ms": "extract(epoch FROM finished_at - queued_at) * 1000",
    "cpu_ms": "cpu_ms",
    "peak_memory_bytes": "peak_memory_bytes",
}
PERCENTILES = f"""
    SELECT {", ".join(f"percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY {e})" for e in MEASURES.values())}
    FROM executions_execution WHERE (%s OR client_id IS NOT DISTINCT FROM %s) AND queued_at >= %s
"""  # noqa: S608


class StatsView(ApiView):
    @extend_schema(
        summary="Your last 24 hours",
        operation_id="get_stats",
        responses=schema.answers({200: schema.StatsSchema}),
        tags=["Catalogue"],
    )
    def get(self, request: Request) -> Response:
        since = timezone.now() - WINDOW
        recent = self.visible().filter(queued_at__gte=since).order_by()
        statuses = dict(recent.values_list("status").annotate(Count("pk")))
        content: dict[str, Any] = {"since": since, "total": sum(statuses.values()), "statuses": statuses}
        with connection.cursor() as cursor:
            everybody = bool(self.caller and self.caller.sees_everything)
            cursor.execute(PERCENTILES, [everybody, self.caller.pk if self.caller else None, since])
            row = cursor.fetchone() or ()
        for name, values in zip(MEASURES, row, strict=True):
            p50, p95 = values or (None, None)
            content[name] = {"p50": p50, "p95": p95}
        return Response(content)
