"""Dify's sandbox: POST /v1/sandbox/run, GET /v1/sandbox/dependencies and GET /health.

Source: langgenius/dify-sandbox, internal/controller and internal/service; langgenius/dify,
api/core/helper/code_executor. docs/doors.md lists what differs.
"""

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import MethodNotAllowed, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from api.compatible.base import FormatView
from api.compatible.catalogue import runtime_named
from api.compatible.running import run_to_end, wanted
from api.v1 import problems
from executions import services
from executions.models import Execution, Status
from executions.representation import timing_headers
from inspections.models import Inspection
from runtimes.models import Runtime
from sandbox_platform.kit import formats
from sandbox_platform.kit.formats import Refusal
from sandbox_platform.kit.schemas import AnyJson, Schema


class DifyRunForm(serializers.Serializer):  # type: ignore[type-arg]
    language = serializers.CharField(help_text="`python3`, `nodejs`, or another runtime's slug or alias.")
    code = serializers.CharField()
    preload = serializers.CharField(required=False, allow_blank=True, help_text="Runs before the code.")
    enable_network = serializers.BooleanField(
        required=False, help_text="Ignored: what the client and the runtime may reach decides."
    )


class DifyOutputSchema(Schema):
    stdout = serializers.CharField()
    error = serializers.CharField(help_text="Never empty if the program failed; otherwise always empty.")
    stderr = serializers.CharField()
    exit_code = serializers.IntegerField(allow_null=True)


class DifyRanSchema(Schema):
    code = serializers.IntegerField(help_text="0; less than 0 for a refusal, whose `data` is null.")
    message = serializers.CharField()
    data = DifyOutputSchema(allow_null=True)  # type: ignore[assignment]


class DifyDependencySchema(Schema):
    name = serializers.CharField()
    version = serializers.CharField()


class DifyDependenciesSchema(Schema):
    dependencies = DifyDependencySchema(many=True)


class DifyListedSchema(Schema):
    code = serializers.IntegerField()
    message = serializers.CharField()
    data = DifyDependenciesSchema(allow_null=True)  # type: ignore[assignment]


class DifyRefusedSchema(Schema):
    code = serializers.IntegerField(help_text="The HTTP status that it would be, negative.")
    message = serializers.CharField()
    data = AnyJson()  # type: ignore[assignment]


def answers(success: Any) -> dict[Any, Any]:
    refused = {status: OpenApiResponse(DifyRefusedSchema) for status in (401, 500, 503)}
    return {200: OpenApiResponse(success, "A result or a refusal: see `code`."), **refused}


def succeeded(data: Any) -> dict[str, Any]:
    return {"code": 0, "message": "success", "data": data}


class DifyView(FormatView):
    format = formats.DIFY
    theirs = {"runtime": "language"}


class RunView(DifyView):
    http_method_names = ["post", "options"]

    @extend_schema(
        summary="Run a program",
        operation_id="dify_run",
        request={"application/json": DifyRunForm},
        responses=answers(DifyRanSchema),
        tags=["Dify"],
    )
    def post(self, request: Request) -> Response:
        execution = run_to_end(self, self._wanted())
        return Response(succeeded(output(execution)), headers=timing_headers(execution))

    def _wanted(self) -> services.Request:
        body = self.body
        for name in ("language", "code"):
            if not isinstance(body.get(name), str) or not body[name]:
                raise problems.Invalid(name, "is required as a text", "")
        preload = body.get("preload") or ""
        if not isinstance(preload, str):
            raise problems.Invalid("preload", "must be a text", "")
        code = f"{preload}\n{body['code']}" if preload.strip() else body["code"]
        return wanted(self, named(body["language"], self), {"code": code})


def named(language: Any, view: DifyView) -> Runtime:
    return runtime_named(language, view.caller, problems.Invalid("language", "unsupported language", ""))


def output(execution: Execution) -> dict[str, Any]:
    """Return the streams. Dify takes any text in `error` for a failure, and shows nothing else of it."""
    error = ""
    if execution.status != Status.SUCCEEDED:
        parts = (execution.stderr.rstrip("\n"), execution.message)
        error = "\n".join(part for part in parts if part) or "The program failed."
    return {
        "stdout": execution.stdout,
        "error": error,
        "stderr": execution.stderr,
        "exit_code": execution.exit_code,
    }


class DependenciesView(DifyView):
    @extend_schema(
        summary="List packages",
        operation_id="dify_dependencies",
        description="Those of the newest description of the runtime.",
        parameters=[OpenApiParameter("language", str, required=True)],
        responses=answers(DifyListedSchema),
        tags=["Dify"],
    )
    def get(self, request: Request) -> Response:
        runtime = named(request.query_params.get("language", ""), self)
        return Response(succeeded({"dependencies": packages(runtime)}))


class UpdateView(DifyView):
    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        raise PermissionDenied("Packages are added by an administrator of the platform, with a build.")


def packages(runtime: Runtime) -> list[dict[str, str]]:
    described = Inspection.objects.newest_description(runtime)
    facts = described.details["facts"]["packages"] if described else {}
    ecosystem = "npm" if runtime.slug == "nodejs" else "pip"
    return [
        {"name": str(name), "version": str(version[0]) if version else ""}
        for name, *version in facts.get(ecosystem) or ()
    ]


@csrf_exempt
def health(request: HttpRequest) -> JsonResponse:
    """Answer that the process is alive, without a token: Dify's own sandbox does."""
    if request.method not in ("GET", "HEAD"):
        refused = Refusal(405, str(MethodNotAllowed(str(request.method)).detail))
        status, body = formats.DIFY.render(refused)
        return JsonResponse(body, status=status, headers={"Allow": "GET, HEAD"})
    return JsonResponse("ok", safe=False)
