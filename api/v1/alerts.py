"""GET /api/v1/alerts: what fires now, and the history, as the console's page has them."""

import base64
import binascii
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from alerts.models import Alert, AlertState, Severity
from alerts.watch import unwatched
from api.v1 import schema
from api.v1.base import ApiView
from clients.permissions import MayAudit
from sandbox_platform.kit.errors import InvalidField
from sandbox_platform.kit.fields import Strict, Text, validated
from sandbox_platform.kit.schemas import Schema, computed

LARGEST_ID = 2**63 - 1


class AlertSchema(Schema):
    id = serializers.IntegerField()
    rule = serializers.CharField(source="rule_name")
    condition = serializers.CharField(help_text="What the rule watches; see docs/alerts.md.")
    severity = serializers.ChoiceField(Severity.choices)
    subject = serializers.CharField(help_text="What meets the condition, such as `client ragflow`.")
    state = serializers.ChoiceField(
        AlertState.choices, help_text="`pending`: met, but not for long enough; nobody has been told."
    )
    value = serializers.FloatField(help_text="Of the last evaluation that met the condition.")
    value_text = serializers.CharField(source="value_words", help_text="With its unit.")
    detail = serializers.CharField()
    since = serializers.DateTimeField(help_text="The first evaluation that met the condition.")
    fired_at = serializers.DateTimeField(allow_null=True)
    resolved_at = serializers.DateTimeField(allow_null=True)
    resolution = serializers.CharField(help_text="Why it was resolved; empty while it is open.")
    notified_at = serializers.DateTimeField(allow_null=True, help_text="The last message about it.")
    silenced_until = computed(
        serializers.DateTimeField(allow_null=True, help_text="null: not silenced now."),
        lambda alert: None if alert.state == AlertState.RESOLVED else alert.silenced_until,
    )
    url = serializers.CharField(source="path", help_text="Path of its page in the console.")


class AlertPageSchema(Schema):
    unwatched = serializers.CharField(
        help_text="Which rules are not evaluated, and why: of these the alerts may be out of date. Empty: all are."
    )
    next = serializers.CharField(allow_null=True, help_text="Path of the next page; null on the last one.")
    results = AlertSchema(many=True)


class AlertsForm(Strict):
    state = serializers.ChoiceField(AlertState.choices, required=False, help_text="`firing`: what fires now.")
    severity = serializers.ChoiceField(Severity.choices, required=False)
    rule = Text(required=False, max_length=100, help_text="Name of the rule.")
    condition = Text(required=False, max_length=50)
    subject = Text(required=False, max_length=200, help_text="In full.")
    since_after = serializers.DateTimeField(required=False, help_text="Met since this time or later.")
    since_before = serializers.DateTimeField(required=False, help_text="Met since before this time.")
    limit = serializers.IntegerField(default=50, min_value=1, max_value=100, help_text="Alerts per page.")
    cursor = Text(required=False, max_length=100, help_text="The cursor in `next` of the previous page.")


LOOKUPS = {
    "state": "state", "severity": "severity", "rule": "rule_name", "condition": "condition", "subject": "subject",
    "since_after": "since__gte", "since_before": "since__lt",
}  # fmt: skip


class AlertsView(ApiView):
    permission_classes = [MayAudit]
    http_method_names = ["get", "options"]

    @extend_schema(
        summary="List alerts",
        operation_id="list_alerts",
        description="Auditors and administrators only, because alerts name other clients. Newest first: pending, "
        "firing and resolved ones. Resolved alerts never change, and are kept for SANDBOX_ALERT_DAYS.",
        parameters=[AlertsForm],
        responses=schema.answers({200: AlertPageSchema, **schema.LONG_QUERY}, 403, 422),
        tags=["Alerts"],
    )
    def get(self, request: Request) -> Response:
        form = validated(AlertsForm, {name: values[-1] for name, values in request.query_params.lists()})
        found = list(_filtered(form)[: form["limit"] + 1])
        following = None
        if len(found) > form["limit"]:
            found = found[: form["limit"]]
            query = {name: values[-1] for name, values in request.query_params.lists()}
            following = f"{request.path}?{urlencode(query | {'cursor': _cursor(found[-1])})}"
        results = [AlertSchema.dump(alert) for alert in found]
        return Response(AlertPageSchema.dump(unwatched=unwatched(), next=following, results=results))


def _filtered(form: dict[str, Any]) -> QuerySet[Alert]:
    alerts = Alert.objects.with_silences().order_by("-id")
    if "cursor" in form:
        alerts = alerts.filter(pk__lt=_position(form["cursor"]))
    return alerts.filter(**{lookup: form[name] for name, lookup in LOOKUPS.items() if name in form})


def _cursor(last: Alert) -> str:
    return base64.urlsafe_b64encode(f"alert {last.pk}".encode()).decode().rstrip("=")


def _position(cursor: str) -> int:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        kind, _, number = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii").partition(" ")
        if kind != "alert" or not number.isdigit() or int(number) > LARGEST_ID:
            raise ValueError
        return int(number)
    except (ValueError, binascii.Error) as e:
        raise InvalidField("cursor", "Not the cursor of a page of alerts.", "Use the value of `next`.") from e
