"""GET /api/v1/me: the caller's permissions, caps and remaining quotas."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from api.v1 import schema
from api.v1.base import ApiView
from clients.admission import Usage, usage_of
from clients.models import Client, Role, Token
from runtimes.models import ADJUSTABLE, Network
from sandbox_platform.kit.schemas import Schema, Stored, computed


@dataclass(frozen=True)
class Caller:
    client: Client | None
    token: Token | None
    usage: Usage


@dataclass(frozen=True)
class Allowance:
    limit: int | None
    used: int | None
    frees_at: datetime | None

    @property
    def left(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - (self.used or 0))


def _allowance(caller: Caller, name: str, used: int, frees_at: datetime | None) -> Allowance:
    limit: int | None = getattr(caller.client, name, None)
    if limit is None:
        # Open executions can be counted at any time. Runs are counted only if there is a quota.
        return Allowance(None, used if name == "max_open_executions" else None, None)
    return Allowance(limit, used, frees_at)


class TokenSerializer(Schema):
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="The beginning of the token. Empty for a short token.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True, help_text="null: never.")


class CapsSerializer(Stored):
    """The client's caps for one run. null: only the runtime's limit applies."""

    def get_fields(self) -> dict[str, Any]:
        return {name: serializers.IntegerField(allow_null=True) for name in ADJUSTABLE}


class AllowanceSerializer(Schema):
    limit = serializers.IntegerField(allow_null=True, help_text="null: unlimited.")
    used = serializers.IntegerField(allow_null=True, help_text="null: not counted, because there is no quota.")
    left = serializers.IntegerField(allow_null=True, help_text="null: unlimited.")
    frees_at = serializers.DateTimeField(
        allow_null=True, help_text="null: when an execution ends, or nothing is used."
    )


class MeSerializer(Schema):
    client = serializers.CharField(
        allow_null=True, help_text="null: a call without a token on an open platform.", source="client.name"
    )
    role = computed(
        serializers.ChoiceField(Role.choices), lambda caller: caller.client.role if caller.client else Role.CALLER
    )
    token = TokenSerializer(allow_null=True)
    allowed_runtimes = computed(
        serializers.ListField(child=serializers.CharField(), allow_null=True, help_text="null: all runtimes."),
        lambda caller: (caller.client and caller.client.allowed_runtimes) or None,
    )
    seccomp_profile = serializers.CharField(
        allow_null=True,
        help_text="Seccomp profile of the client's runs; null: the runtime's profile.",
        source="client.seccomp_profile.name",
    )
    network = computed(
        serializers.ChoiceField(
            Network.choices,
            help_text="egress: on runtimes with egress, the client's programs may call hosts on the allow-list.",
        ),
        lambda caller: caller.client.network if caller.client else Network.NONE,
    )
    caps = computed(
        CapsSerializer(), lambda caller: {name: getattr(caller.client, f"max_{name}", None) for name in ADJUSTABLE}
    )
    runs_per_minute = computed(
        AllowanceSerializer(),
        lambda caller: _allowance(
            caller, "max_runs_per_minute", caller.usage.minute_used, caller.usage.minute_frees_at
        ),
    )
    runs_per_day = computed(
        AllowanceSerializer(),
        lambda caller: _allowance(caller, "max_runs_per_day", caller.usage.day_used, caller.usage.day_ends),
    )
    open_executions = computed(
        AllowanceSerializer(),
        lambda caller: _allowance(caller, "max_open_executions", caller.usage.open_executions, None),
    )
    stored_bytes = computed(
        AllowanceSerializer(help_text="What the client's history holds. A purge frees it."),
        lambda caller: (
            Allowance(caller.client.stored_limit, caller.usage.stored_bytes, None)
            if caller.client
            else Allowance(None, None, None)
        ),
    )


class MeView(ApiView):
    @extend_schema(
        summary="Show the caller's role, caps and remaining quotas",
        operation_id="get_me",
        responses=schema.answers({200: MeSerializer}),
        tags=["Clients"],
    )
    def get(self, request: Request) -> Response:
        token: object = request.auth
        caller = Caller(self.caller, token if isinstance(token, Token) else None, usage_of(self.caller))
        return Response(MeSerializer.dump(caller))
