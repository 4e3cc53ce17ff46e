"""/api/v1/runtimes/{slug}/builds: build, pull and roll back a runtime's image. Administrators only."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.v1 import schema
from api.v1.base import ApiView
from api.v1.catalogue_forms import PackagesForm
from api.v1.problems import Conflict, Invalid
from builds import services
from builds.models import BuildKind, BuildState, RuntimeBuild
from runtimes.models import Runtime
from runtimes.packages import problems
from sandbox_platform.kit.actors import actor_name
from sandbox_platform.kit.fields import Strict, Whole, validated
from sandbox_platform.kit.schemas import Schema

ADMINISTRATORS = (401, 403, 404)
LOG_PAGE = 64 * 1024


class AdministratorsOnly(IsAuthenticated):
    """Allow administrators only: a build's log names the installation's packages and their sources."""

    message = "Only a client with the role administrator may see and request builds."

    def has_permission(self, request: Request, view: APIView) -> bool:
        caller: Any = request.user
        return super().has_permission(request, view) and caller.may_administer


class BuildForm(Strict):
    kind = serializers.ChoiceField(
        BuildKind.choices,
        default=BuildKind.PACKAGES,
        help_text="pull: pull the runtime's image first and pin the image that its tag names now.",
    )
    packages = PackagesForm(
        required=False,
        help_text="The complete list of packages on top of the image. Default: the runtime's present packages.",
    )


class LogForm(Strict):
    since = Whole(default=0, min_value=0, max_value=2**40, help_text="Characters of the log to skip.")


class BuildSchema(Schema):
    number = serializers.IntegerField()
    kind = serializers.ChoiceField(BuildKind.choices)
    state = serializers.ChoiceField(BuildState.choices)
    progress = serializers.CharField(help_text="The present step.")
    packages = serializers.DictField(child=serializers.ListField(child=serializers.CharField()))
    base = serializers.CharField(help_text="The image that the build starts from, as the runtime names it.")
    base_image_id = serializers.CharField()
    image_id = serializers.CharField(help_text="Empty until the image exists, and after it was removed.")
    digest = serializers.CharField(help_text="Registry digest of the base image; empty for a local image.")
    node = serializers.CharField()
    error = serializers.CharField(help_text="Why the build failed.")
    requested_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    live_at = serializers.DateTimeField(allow_null=True)


class BuildWithLogSchema(BuildSchema):
    log = serializers.CharField(help_text="The log from the character `since` on.")
    log_size = serializers.IntegerField(help_text="Characters read up to here: the next `since`.")


def runtime_of(slug: str) -> Runtime:
    runtime: Runtime = get_object_or_404(Runtime.objects.named(slug))
    return runtime


def build_of(slug: str, number: int) -> RuntimeBuild:
    rows = RuntimeBuild.objects.select_related("runtime")
    build: RuntimeBuild = get_object_or_404(rows, runtime=runtime_of(slug), number=number)
    return build


class BuildsView(ApiView):
    permission_classes = [AdministratorsOnly]

    @extend_schema(
        summary="Builds of a runtime",
        operation_id="list_builds",
        description="Administrators only. Returns the newest hundred, newest first.",
        responses=schema.answers({200: BuildSchema(many=True)}, *ADMINISTRATORS),
        tags=["Builds"],
    )
    def get(self, request: Request, slug: str) -> Response:
        builds = RuntimeBuild.objects.filter(runtime=runtime_of(slug)).defer("log")[:100]
        return Response([BuildSchema.dump(build) for build in builds])

    @extend_schema(
        summary="Start a build",
        operation_id="start_build",
        description="Administrators only. Builds an image with the packages in the background and runs the "
        "runtime's smoke programs on it. Only if they pass do runs get the image; a failed build changes nothing.",
        request=BuildForm,
        responses=schema.answers({202: BuildSchema}, *schema.BODY, *ADMINISTRATORS, 409),
        tags=["Builds"],
    )
    def post(self, request: Request, slug: str) -> Response:
        runtime = runtime_of(slug)
        form = validated(BuildForm, request.data)
        packages = form.get("packages", runtime.packages)
        for ecosystem, problem in problems(packages).items():
            raise Invalid(
                f"packages.{ecosystem}".rstrip("."), problem, "Correct it; see docs/builds.md for the syntax."
            )
        build = services.request_build(
            runtime, kind=BuildKind(form["kind"]), packages=packages, by=actor_name(request.user)
        )
        headers = {"Location": f"/api/v1/runtimes/{runtime.slug}/builds/{build.number}"}
        return Response(BuildSchema.dump(build), status=202, headers=headers)


class BuildView(ApiView):
    permission_classes = [AdministratorsOnly]

    @extend_schema(
        summary="One build, with its log",
        operation_id="get_build",
        description="Administrators only. To follow a build, send `since` with the last `log_size`.",
        parameters=[
            OpenApiParameter(
                "since",
                {"type": "integer", "minimum": 0, "maximum": 2**40},
                description="Characters of the log to skip.",
            )
        ],
        responses=schema.answers({200: BuildWithLogSchema}, *ADMINISTRATORS, 422),
        tags=["Builds"],
    )
    def get(self, request: Request, slug: str, number: int) -> Response:
        query: dict[str, Any] = request.query_params.dict()
        if str(query.get("since", "")).isdecimal():
            query["since"] = int(query["since"])
        since = validated(LogForm, query)["since"]
        build = build_of(slug, number)
        log = build.log[since : since + LOG_PAGE]
        return Response(BuildWithLogSchema.dump(build, log=log, log_size=min(len(build.log), since + len(log))))


class CancelBuildView(ApiView):
    permission_classes = [AdministratorsOnly]

    @extend_schema(
        summary="Cancel a build",
        operation_id="cancel_build",
        request=None,
        responses=schema.answers(
            {202: OpenApiResponse(BuildSchema, "The build ends within seconds.")}, *ADMINISTRATORS, 409
        ),
        tags=["Builds"],
    )
    def post(self, request: Request, slug: str, number: int) -> Response:
        if not services.cancel(build := build_of(slug, number)):
            raise Conflict(
                f"The build has already ended: {build.state}.",
                remedy="There is nothing to cancel.",
                code="already_ended",
            )
        return Response(BuildSchema.dump(build_of(slug, number)), status=202)


class ActivateBuildView(ApiView):
    permission_classes = [AdministratorsOnly]

    @extend_schema(
        summary="Roll back to a build",
        operation_id="activate_build",
        description="Administrators only. Starts warm sandboxes first; `live` means that runs get the image.",
        request=None,
        responses=schema.answers({202: BuildSchema}, *ADMINISTRATORS, 409, 503),
        tags=["Builds"],
    )
    def post(self, request: Request, slug: str, number: int) -> Response:
        services.activate(build_of(slug, number))
        return Response(BuildSchema.dump(build_of(slug, number)), status=202)


class DeactivateBuildView(ApiView):
    permission_classes = [AdministratorsOnly]

    @extend_schema(
        summary="Roll back to the image without a build",
        operation_id="deactivate_build",
        description="Administrators only. From the response on, runs get the runtime's image as it is on the node. "
        "The build stays ready and can be activated again. 409 for a build that is not live.",
        request=None,
        responses=schema.answers({200: BuildSchema}, *ADMINISTRATORS, 409, 503),
        tags=["Builds"],
    )
    def post(self, request: Request, slug: str, number: int) -> Response:
        services.deactivate(build_of(slug, number))
        return Response(BuildSchema.dump(build_of(slug, number)))
