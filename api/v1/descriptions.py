"""/api/v1/runtimes/{slug}/description: version, packages and what a program sees, from the image itself."""

from typing import Any

from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from api.v1 import schema
from api.v1.catalogue import CatalogueView, check_may_look_into
from inspections.models import Inspection
from runtimes.models import Runtime
from sandbox_platform.kit.schemas import AnyJson, Schema, computed


def _fact(name: str) -> Any:
    return lambda inspection: inspection.details["facts"][name]


class DescriptionSchema(Schema):
    image_id = serializers.CharField(help_text="The image that was described.")
    runtime_revision = serializers.IntegerField(help_text="Older than the runtime's: a new description is due.")
    described_at = serializers.DateTimeField(source="finished_at")
    version = computed(
        serializers.CharField(help_text="What the language itself says; empty if it is unknown."), _fact("version")
    )
    packages = computed(
        AnyJson(help_text="Lists of [name, version] by ecosystem: pip, npm, gem, php, r, java, debian, alpine."),
        _fact("packages"),
    )
    facts = computed(
        AnyJson(help_text="User, folders, limits, environment and the rest that a program sees."),
        lambda inspection: {
            name: value
            for name, value in inspection.details["facts"].items()
            if name not in ("version", "packages")
        },
    )


class DescriptionView(CatalogueView):
    @extend_schema(
        summary="What a program of the runtime sees",
        operation_id="get_runtime_description",
        description="Collected in a sandbox of the image. 404 until a keeper has described the runtime.",
        responses=schema.answers({200: DescriptionSchema}, 403, 404),
        tags=["Catalogue"],
    )
    def get(self, request: Request, slug: str) -> Response:
        runtime = get_object_or_404(Runtime.objects.named(slug))
        check_may_look_into(runtime, self.caller)
        inspection = Inspection.objects.newest_description(runtime)
        if inspection is None:
            raise Http404
        return Response(DescriptionSchema.dump(inspection))
