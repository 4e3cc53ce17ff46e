"""What there is to run on: runtimes and seccomp profiles."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from executions.api import schema
from executions.api.base import ApiView
from runtimes.models import Runtime
from seccomp_profiles.models import UNCONFINED, SeccompProfile


def runtime_as_shown(runtime: Runtime) -> dict[str, Any]:
    names = (
        "slug",
        "name",
        "aliases",
        "enabled",
        "image",
        "source_file",
        "revision",
        "code_policy",
        "environment",
    )
    profile = runtime.seccomp_profile
    return {name: getattr(runtime, name) for name in names} | {
        "seccomp_profile": profile.name if profile else UNCONFINED,
        "limits": runtime.limits.as_dict(),
    }


class RuntimesView(ApiView):
    @extend_schema(
        summary="Runtimes",
        operation_id="list_runtimes",
        responses=schema.answers({200: schema.RuntimeSchema(many=True)}),
        tags=["Catalogue"],
    )
    def get(self, request: Request) -> Response:
        runtimes = Runtime.objects.select_related("seccomp_profile")
        return Response([runtime_as_shown(runtime) for runtime in runtimes])


class RuntimeView(ApiView):
    @extend_schema(
        summary="One runtime, by slug or alias",
        operation_id="get_runtime",
        responses=schema.answers({200: schema.RuntimeSchema}, 404),
        tags=["Catalogue"],
    )
    def get(self, request: Request, slug: str) -> Response:
        runtimes = Runtime.objects.named(slug).select_related("seccomp_profile")
        return Response(runtime_as_shown(get_object_or_404(runtimes)))


class ProfilesView(ApiView):
    @extend_schema(
        summary="Seccomp profiles",
        operation_id="list_seccomp_profiles",
        responses=schema.answers({200: schema.ProfileSchema(many=True)}),
        tags=["Catalogue"],
    )
    def get(self, request: Request) -> Response:
        return Response(
            [
                {
                    "name": profile.name,
                    "description": profile.description,
                    "sha256": profile.sha256,
                    "rules": profile.rules,
                    "runtimes": [runtime.slug for runtime in profile.runtimes.all()],
                }
                for profile in SeccompProfile.objects.prefetch_related("runtimes")
            ]
        )
