"""GET /api/v1/executions/export: stream the filtered history as CSV or JSON lines, without a limit on its length."""

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from api.v1 import schema
from api.v1.base import ApiView
from api.v1.listing import FilterForm, fields_of, parameters
from executions import export
from executions.listing import BY_TIME, Order, filtered
from executions.pages import found_windows
from executions.places import client_id_of
from sandbox_platform.kit.exports import MEDIA_TYPES
from sandbox_platform.kit.fields import validated


class ExportForm(FilterForm):
    format = serializers.ChoiceField(list(MEDIA_TYPES), default="csv")


class ExportView(ApiView):
    @extend_schema(
        summary="Export executions",
        operation_id="export_executions",
        description="Newest first. In CSV, a text that a spreadsheet would read as a formula gets an apostrophe.",
        parameters=[ExportForm],
        responses={
            **schema.answers(schema.LONG_QUERY, 422, 429),
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, "With a header line."),
            (200, "application/x-ndjson"): OpenApiResponse(OpenApiTypes.STR, "One JSON object per line."),
        },
        tags=["Executions"],
    )
    def get(self, request: Request) -> HttpResponseBase:
        form = validated(ExportForm, parameters(ExportForm, request.query_params))
        windows = found_windows(form, self.caller, Order(f"-{BY_TIME}")) if form.get("q") else None
        reader = client_id_of(request)
        found = filtered(self.visible(), form)
        return export.download(found, fields_of(form, request), form["format"], windows, reader, http=request)
