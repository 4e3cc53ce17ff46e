"""GET /api/v1/stats: figures of the last 24 hours, of the client or, for callers who see everything, of all."""

from datetime import timedelta

from django.db import connection
from django.db.models import Count
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from api.v1 import schema
from api.v1.base import ApiView
from sandbox_platform.kit.schemas import Schema

WINDOW = timedelta(hours=24)


class PercentilesSchema(Schema):
    p50 = serializers.FloatField(allow_null=True)
    p95 = serializers.FloatField(allow_null=True)


def measure(sql: str) -> PercentilesSchema:
    """Return a field for the percentiles of an SQL expression over executions."""
    field = PercentilesSchema()
    field.sql = sql  # type: ignore[attr-defined]
    return field


class StatsSchema(Schema):
    since = serializers.DateTimeField()
    total = serializers.IntegerField()
    statuses = serializers.DictField(child=serializers.IntegerField())
    run_ms = measure("extract(epoch FROM ended_at - started_at) * 1000")
    queue_ms = measure("extract(epoch FROM claimed_at - queued_at) * 1000")
    total_ms = measure("extract(epoch FROM finished_at - queued_at) * 1000")
    cpu_ms = measure("cpu_ms")
    peak_memory_bytes = measure("peak_memory_bytes")


MEASURES = {name: field.sql for name, field in StatsSchema._declared_fields.items() if hasattr(field, "sql")}
PERCENTILES = f"""
    SELECT {", ".join(f"percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY {e})" for e in MEASURES.values())}
    FROM executions_execution WHERE (%s OR client_id IS NOT DISTINCT FROM %s) AND queued_at >= %s
"""  # noqa: S608


class StatsView(ApiView):
    @extend_schema(
        summary="Figures of the last 24 hours",
        operation_id="get_stats",
        responses=schema.answers({200: StatsSchema}),
        tags=["Catalogue"],
    )
    def get(self, request: Request) -> Response:
        since = timezone.now() - WINDOW
        recent = self.visible().filter(queued_at__gte=since).order_by()
        statuses = dict(recent.values_list("status").annotate(Count("pk")))
        measured = {}
        with connection.cursor() as cursor:
            everybody = bool(self.caller and self.caller.sees_everything)
            cursor.execute(PERCENTILES, [everybody, self.caller.pk if self.caller else None, since])
            row = cursor.fetchone() or ()
        for name, values in zip(MEASURES, row, strict=True):
            p50, p95 = values or (None, None)
            measured[name] = PercentilesSchema.dump(p50=p50, p95=p95)
        total = sum(statuses.values())
        return Response(StatsSchema.dump(since=since, total=total, statuses=statuses, **measured))
