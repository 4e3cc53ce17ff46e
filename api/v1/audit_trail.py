"""GET /api/v1/audit-trail/export: export the audit trail for an auditor's own tools."""

from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from api.v1 import schema
from api.v1.base import ApiView
from audit import export, queries
from audit.models.changes import EVENTS, LABELS
from clients.permissions import MayAudit
from sandbox_platform.kit.acts import Kind
from sandbox_platform.kit.exports import MEDIA_TYPES
from sandbox_platform.kit.fields import Strict, Text, validated

OBJECTS = [event.pgh_tracked_model._meta.label for event in EVENTS]


class TrailForm(Strict):
    format = serializers.ChoiceField(list(MEDIA_TYPES), default="csv")
    object = serializers.ChoiceField(OBJECTS, required=False, help_text="Model of the changed row.")
    object_id = Text(required=False, max_length=50, help_text="Primary key of the changed row.")
    change = serializers.ChoiceField([*LABELS, *(kind.value for kind in Kind)], required=False)
    who = Text(
        required=False,
        max_length=200,
        help_text="Part of the name of the user, client, database role or application that made the change.",
    )
    q = Text(required=False, max_length=200, help_text="Part of any value in the changed row.")
    changed_after = serializers.DateTimeField(required=False, help_text="At this time or later.")
    changed_before = serializers.DateTimeField(required=False, help_text="Before this time.")


class TrailExportView(ApiView):
    permission_classes = [MayAudit]
    http_method_names = ["get", "options"]

    @extend_schema(
        summary="Export the audit trail",
        operation_id="export_audit_trail",
        description="Auditors and administrators only. Exports every change of the configuration and of people, and "
        "what people and clients did beside (cancelled, killed, exported, …), oldest first. CSV has one line per "
        "changed column, and a text that a spreadsheet would read as a formula begins with an apostrophe. JSON has "
        "one line per change.",
        parameters=[TrailForm],
        responses={
            **schema.answers(schema.LONG_QUERY, 403, 422),
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, "With a header line."),
            (200, "application/x-ndjson"): OpenApiResponse(OpenApiTypes.STR, "One JSON object per line."),
        },
        tags=["Audit"],
    )
    def get(self, request: Request) -> HttpResponseBase:
        form = validated(TrailForm, {name: values[-1] for name, values in request.query_params.lists()})
        return export.download(filtered(form), form["format"], http=request)


def filtered(form: dict[str, Any]) -> Any:
    equal = {"object": "pgh_obj_model", "object_id": "pgh_obj_id"}
    entries = queries.trail().filter(**{lookup: form[name] for name, lookup in equal.items() if name in form})
    entries = entries.filter(export.within(form.get("changed_after"), form.get("changed_before")))
    if "change" in form:
        entries = queries.changed(entries, form["change"])
    if "who" in form:
        entries = queries.made_by(entries, form["who"])
    return queries.containing(entries, form["q"]) if "q" in form else entries
