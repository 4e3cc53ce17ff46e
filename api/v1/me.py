"""GET /api/v1/me: what the caller may do, and how much of it is left."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from api.v1 import schema
from api.v1.base import ApiView
from clients.admission import usage_of
from clients.models import Client, Role, Token
from runtimes.models import ADJUSTABLE, Network


class TokenSerializer(serializers.Serializer):  # type: ignore[type-arg]
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="How the token begins. Empty for a short one.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True, help_text="null: never.")


class CapsSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """Of one run. null: the limit of the runtime alone."""

    def get_fields(self) -> dict[str, Any]:
        return {name: serializers.IntegerField(allow_null=True) for name in ADJUSTABLE}


class AllowanceSerializer(serializers.Serializer):  # type: ignore[type-arg]
    limit = serializers.IntegerField(allow_null=True, help_text="null: unlimited.")
    used = serializers.IntegerField(
        allow_null=True, help_text="null: not counted, as runs are not without a limit."
    )
    left = serializers.IntegerField(allow_null=True, help_text="null: unlimited.")
    frees_at = serializers.DateTimeField(
        allow_null=True, help_text="null: as soon as one of them ends, or nothing is used."
    )


class MeSerializer(serializers.Serializer):  # type: ignore[type-arg]
    client = serializers.CharField(allow_null=True, help_text="null: a call without a token on an open platform.")
    role = serializers.ChoiceField(Role.choices)
    token = TokenSerializer(allow_null=True)
    allowed_runtimes = serializers.ListField(
        child=serializers.CharField(), allow_null=True, help_text="null: all of them."
    )
    seccomp_profile = serializers.CharField(
        allow_null=True, help_text="The filter of its runs; null: the runtime's."
    )
    network = serializers.ChoiceField(
        Network.choices,
        help_text="egress: on runtimes that have it, its programs may call hosts on the allow-list.",
    )
    caps = CapsSerializer()
    runs_per_minute = AllowanceSerializer()
    runs_per_day = AllowanceSerializer()
    open_executions = AllowanceSerializer()


class MeView(ApiView):
    @extend_schema(
        summary="The caller: role, caps, and what is left",
        operation_id="get_me",
        responses=schema.answers({200: MeSerializer}),
        tags=["Clients"],
    )
    def get(self, request: Request) -> Response:
        caller: object = request.user
        client = caller if isinstance(caller, Client) else None
        token: object = request.auth
        return Response(MeSerializer(describe(client, token if isinstance(token, Token) else None)).data)


def describe(client: Client | None, token: Token | None) -> dict[str, Any]:
    usage = usage_of(client)
    return {
        "client": client and client.name,
        "role": client.role if client else Role.CALLER,
        "token": token,
        "allowed_runtimes": (client and client.allowed_runtimes) or None,
        "seccomp_profile": client and client.seccomp_profile and client.seccomp_profile.name,
        "network": client.network if client else Network.NONE,
        "caps": {name: getattr(client, f"max_{name}", None) for name in ADJUSTABLE},
        "runs_per_minute": _allowance(client, "max_runs_per_minute", usage.minute_used, usage.minute_frees_at),
        "runs_per_day": _allowance(client, "max_runs_per_day", usage.day_used, usage.day_ends),
        "open_executions": _allowance(client, "max_open_executions", usage.open_executions, None),
    }


def _allowance(client: Client | None, name: str, used: int, frees_at: datetime | None) -> dict[str, Any]:
    limit: int | None = getattr(client, name, None)
    if limit is None:
        # Open executions can be counted at any time; runs are counted only against a limit.
        counted = used if name == "max_open_executions" else None
        return {"limit": None, "used": counted, "left": None, "frees_at": None}
    return {"limit": limit, "used": used, "left": max(0, limit - used), "frees_at": frees_at}
