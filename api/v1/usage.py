"""GET /api/v1/usage: what clients used and were refused, by day, client and runtime, as JSON or CSV."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from api.v1 import schema
from api.v1.base import ApiView
from api.v1.problems import Forbidden, Invalid, Problem
from clients.models import Client
from runtimes.models import Runtime
from sandbox_platform.kit import acts
from sandbox_platform.kit.acts import Kind
from sandbox_platform.kit.exports import as_download
from sandbox_platform.kit.fields import Name, Strict, Text, validated
from sandbox_platform.kit.schemas import Schema, computed
from usage import export, figures, rollup
from usage.models.price import today

DAYS = 30
_GROUP = "|".join(figures.GROUPS)


class UsageForm(Strict):
    from_ = serializers.DateField(
        required=False, help_text="First day (UTC). Default: 29 days before the last one."
    )
    to = serializers.DateField(required=False, help_text="Last day (UTC), included. Default: today.")
    group = Name(
        rf"^(?:{_GROUP})(?:,(?:{_GROUP}))*\Z",
        f"Not a list of groups, such as client,day. Groups: {', '.join(figures.GROUPS)}.",
        default=",".join(figures.GROUPS),
        max_length=100,
        help_text="What the figures are split by: day, client, runtime, or several of them with commas.",
    )
    client = Text(
        required=False,
        max_length=100,
        help_text="Name of a client; of another one for auditors and administrators.",
    )
    runtime = serializers.SlugField(required=False, max_length=50, help_text="Slug.")
    format = serializers.ChoiceField(["json", "csv"], default="json")

    def get_fields(self) -> Any:
        # `from` is a keyword of Python.
        return {name.removesuffix("_"): field for name, field in super().get_fields().items()}


class Cost(NamedTuple):
    currency: str
    amount: Decimal


class CostSchema(Schema):
    currency = serializers.CharField()
    amount = computed(
        serializers.DecimalField(max_digits=None, decimal_places=6), lambda cost: f"{cost.amount:.6f}"
    )


class UsageRowSchema(Schema):
    day = serializers.DateField(allow_null=True, help_text="UTC. null: not split by day.")
    client = serializers.CharField(allow_null=True, help_text="null: not split by client, or no client.")
    runtime = serializers.CharField(
        allow_null=True, help_text="null: not split by runtime, or a refusal before the runtime was known."
    )
    runs = serializers.IntegerField(help_text="Executions accepted in this time that have ended.")
    rejected = serializers.IntegerField(help_text="Those whose program was not started, as by the code policy.")
    cpu_ms = serializers.IntegerField(help_text="CPU time.")
    memory_byte_seconds = serializers.IntegerField(help_text="Sum of peak memory times duration.")
    egress_bytes = serializers.IntegerField(help_text="Sent and received by programs.")
    stored_bytes = serializers.IntegerField(
        allow_null=True, help_text="What the history held at the end. null: split by runtime."
    )
    stored_byte_hours = serializers.IntegerField(allow_null=True, help_text="Sum of the hours' stored bytes.")
    refused = serializers.DictField(
        child=serializers.IntegerField(), help_text="Number of refused requests by kind; see docs/usage.md."
    )
    runs_per_day_quota = serializers.IntegerField(
        allow_null=True,
        source="daily_quota",
        help_text="The client's quota of today. null: none, or other groups.",
    )
    busiest_day_runs = serializers.IntegerField(
        allow_null=True, help_text="Runs on the busiest day, for comparison with the quota."
    )
    stored_bytes_quota = serializers.IntegerField(allow_null=True, source="stored_quota")
    cost = computed(
        CostSchema(many=True, help_text="Empty without a price."),
        lambda row: [Cost(*each) for each in sorted(row.costs.items())],
    )


class UsageSchema(Schema):
    since = serializers.DateTimeField(help_text="Begin of the first day.")
    until = serializers.DateTimeField(help_text="End of the last day, or of today.")
    counted_up_to = serializers.DateTimeField(
        allow_null=True, help_text="Figures of hours before this time are final. null: nothing has run yet."
    )
    results = UsageRowSchema(many=True)


class NotFound(Problem):
    status_code = 404
    default_code = "not_found"


class UsageView(ApiView):
    http_method_names = ["get", "options"]

    @extend_schema(
        summary="Usage by day, client and runtime",
        operation_id="get_usage",
        description="A client reads its own usage; auditors and administrators that of all clients. Days are UTC. An "
        "execution counts on the day on which it was accepted, once it has ended.",
        parameters=[UsageForm],
        responses={
            **schema.answers({**schema.LONG_QUERY}, 403, 404, 422),
            (200, "application/json"): UsageSchema,
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, "With a header line."),
        },
        tags=["Clients"],
    )
    def get(self, request: Request) -> HttpResponseBase:
        form = validated(UsageForm, {name: values[-1] for name, values in request.query_params.lists()})
        scope = self._scope(form)
        groups = form["group"].split(",")
        try:
            rows = figures.rows(scope, groups) if scope.since < scope.until else []
        except figures.TooManyRows as e:
            raise Invalid(
                "group", f"More than {figures.MOST_ROWS:,} rows.", "Split by less, or ask for fewer days."
            ) from e
        if form["format"] == "csv":
            acts.done(Kind.EXPORTED, "usage", http=request, after=acts.query_of(request._request))
            return as_download("usage", "csv", export.csv(rows))
        return Response(
            UsageSchema.dump(
                since=scope.since,
                until=scope.until,
                counted_up_to=rollup.counted_up_to(),
                results=[UsageRowSchema.dump(row) for row in rows],
            )
        )

    def _scope(self, form: dict[str, Any]) -> figures.Scope:
        last = min(form.get("to") or today(), today())
        first = form.get("from") or max(last, date.min + timedelta(days=DAYS)) - timedelta(days=DAYS - 1)
        everybody, client_id = self._whose(form.get("client"))
        runtime_id = None
        if name := form.get("runtime"):
            runtime_id = Runtime.objects.filter(slug=name).values_list("pk", flat=True).first()
            if runtime_id is None:
                raise NotFound(f"There is no runtime {name!r}.", field="runtime", remedy="Correct the name.")
        since, until = (datetime.combine(day, time(), UTC) for day in (first, last))
        return figures.Scope(since, until + timedelta(days=1), everybody, client_id, runtime_id)

    def _whose(self, name: str | None) -> tuple[bool, int | None]:
        """Return whether the usage of everybody is asked for, else the key of the client."""
        caller = self.caller
        if caller is None or not caller.sees_everything:
            if name is not None and (caller is None or name != caller.name):
                raise Forbidden(
                    "Only auditors and administrators read the usage of other clients.",
                    field="client",
                    remedy="Leave the parameter out.",
                )
            return False, caller.pk if caller else None
        if name is None:
            return True, None
        client_id = Client.objects.filter(name=name.replace("\0", "")).values_list("pk", flat=True).first()
        if client_id is None:
            raise NotFound(f"There is no client {name[:100]!r}.", field="client", remedy="Correct the name.")
        return False, client_id
