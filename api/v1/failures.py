"""GET /api/v1/failures: failed runs in groups with the same exception or limit."""

import base64
import binascii
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from api.v1 import schema
from api.v1.answers import url_of
from api.v1.base import ApiView
from executions.failures import figures
from executions.failures.fingerprints import Kind
from executions.failures.models import FailureGroup
from sandbox_platform.kit.errors import InvalidField
from sandbox_platform.kit.fields import Strict, Text, validated
from sandbox_platform.kit.schemas import Schema, computed

ORDERINGS = [sign + name for name in ("last_at", "first_at", "count") for sign in ("-", "")]


class FailureSchema(Schema):
    id = serializers.UUIDField(help_text="For `failure` of the list of executions.")
    client = serializers.CharField(source="client.name", allow_null=True)
    runtime = serializers.CharField(source="runtime.slug", allow_null=True)
    kind = serializers.ChoiceField(Kind.choices)
    title = serializers.CharField(help_text="Type of the exception, or what ended the runs.")
    message = serializers.CharField(
        help_text="Without numbers, addresses, ids and paths. Empty once the output of all its runs is purged."
    )
    place = serializers.CharField(help_text="Innermost file and function of the program, or its hash.")
    count = serializers.IntegerField(help_text="Number of runs since the first.")
    first_at = serializers.DateTimeField(help_text="When its first run ended.")
    last_at = serializers.DateTimeField(help_text="When its latest run ended.")
    latest_execution = computed(serializers.UUIDField(allow_null=True), lambda group: group.latest_id)
    latest_url = computed(
        serializers.CharField(allow_null=True), lambda group: url_of(group.latest_id) if group.latest_id else None
    )


class FailurePageSchema(Schema):
    next = serializers.CharField(allow_null=True, help_text="Path of the next page; null on the last one.")
    results = FailureSchema(many=True)


class FailuresForm(Strict):
    client = Text(
        required=False, max_length=100, help_text="Name of a client; for callers who see all executions."
    )
    runtime = serializers.SlugField(required=False, max_length=50, help_text="Slug.")
    kind = serializers.ChoiceField(Kind.choices, required=False)
    seen_after = serializers.DateTimeField(required=False, help_text="The latest run ended at this time or later.")
    first_after = serializers.DateTimeField(required=False, help_text="The first run ended at this time or later.")
    ordering = serializers.ChoiceField(ORDERINGS, default="-last_at")
    limit = serializers.IntegerField(default=50, min_value=1, max_value=100, help_text="Failures per page.")
    cursor = Text(required=False, max_length=300, help_text="The cursor in `next` of the previous page.")


class FailuresView(ApiView):
    http_method_names = ["get", "options"]

    @extend_schema(
        summary="List failures",
        operation_id="list_failures",
        description="Failed runs with the same exception, limit or exit status are one failure. A run is in it "
        "some seconds after its end. Callers see the failures of their own runs; auditors and administrators see all.",
        parameters=[FailuresForm],
        responses=schema.answers({200: FailurePageSchema, **schema.LONG_QUERY}, 422),
        tags=["Executions"],
    )
    def get(self, request: Request) -> Response:
        form = validated(FailuresForm, {name: values[-1] for name, values in request.query_params.lists()})
        groups = _page(self._filtered(form), form)
        found = list(groups[: form["limit"] + 1])
        following = None
        if len(found) > form["limit"]:
            found = found[: form["limit"]]
            query = {name: values[-1] for name, values in request.query_params.lists()}
            query["cursor"] = _cursor(form["ordering"], found[-1])
            following = f"{request.path}?{urlencode(query)}"
        latest = figures.latest([group.pk for group in found])
        for group in found:
            group.latest_id = latest.get(group.pk)  # type: ignore[attr-defined]
        return Response(
            FailurePageSchema.dump(next=following, results=[FailureSchema.dump(each) for each in found])
        )

    def _filtered(self, form: dict[str, Any]) -> QuerySet[FailureGroup]:
        groups = FailureGroup.objects.select_related("client", "runtime")
        if not (self.caller and self.caller.sees_everything):
            groups = groups.filter(client=self.caller)
        lookups = {
            "client": "client__name", "runtime": "runtime__slug", "kind": "kind", "seen_after": "last_at__gte",
            "first_after": "first_at__gte",
        }  # fmt: skip
        return groups.filter(**{lookup: form[name] for name, lookup in lookups.items() if name in form})


def _page(groups: QuerySet[FailureGroup], form: dict[str, Any]) -> QuerySet[FailureGroup]:
    """Return the groups in order, from the cursor on: by the key, then by the id."""
    ordering = form["ordering"]
    name, sign = ordering.removeprefix("-"), "-" if ordering.startswith("-") else ""
    if "cursor" in form:
        key, row = _position(ordering, form["cursor"])
        beyond = "lt" if sign else "gt"
        groups = groups.filter(Q(**{f"{name}__{beyond}": key}) | Q(**{name: key, f"pk__{beyond}": row}))
    return groups.order_by(sign + name, f"{sign}pk")


def _cursor(ordering: str, last: FailureGroup) -> str:
    key = getattr(last, ordering.removeprefix("-"))
    shown = key.isoformat() if isinstance(key, datetime) else key
    raw = json.dumps([ordering, shown, str(last.pk)], separators=(",", ":"))
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def _position(ordering: str, cursor: str) -> tuple[Any, UUID]:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        made_for, key, row = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if made_for != ordering:
            raise ValueError
        if ordering.endswith("_at"):
            key = datetime.fromisoformat(key).astimezone(UTC)
        elif type(key) is not int or not 0 <= key < 2**63:
            raise ValueError
        return key, UUID(row)
    except (ValueError, TypeError, AttributeError, OverflowError, binascii.Error, RecursionError) as e:
        raise InvalidField("cursor", "Not the cursor of a page in this order.", "Use the value of `next`.") from e
