"""A program to try out, by hand: the form is the API's own, so what works here works for a caller."""

from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from console.site import ConsoleSite
from executions import people
from executions.api import representation, submission
from executions.api.base import ApiView, validated
from executions.api.forms import ExecutionForm
from executions.api.problems import Conflict
from executions.models import Execution
from runtimes.models import Runtime
from sandbox_platform.units import format_bytes, format_ms

MAY_RUN = "executions.run_execution"
# By slug: what an empty editor begins with. Others begin empty.
EXAMPLES = {
    "python": "def main(name: str) -> dict:\n    print(f'Hello, {name}')\n    return {'letters': len(name)}\n",
    "nodejs": "async function main({ name }) {\n  console.log(`Hello, ${name}`);\n"
    "  return { letters: name.length };\n}\nmodule.exports = { main };\n",
}


def page(request: HttpRequest, *, site: ConsoleSite) -> HttpResponse:
    if not request.user.has_perm(MAY_RUN):
        raise PermissionDenied
    runtimes = [_runtime(runtime) for runtime in Runtime.objects.enabled()]
    content = {
        "runtimes": runtimes,
        "start": _start(request),
        "run": reverse("admin:playground_run"),
        # What a caller sees of this platform; the page itself may have come through another name.
        "api": request.build_absolute_uri("/api/v1/executions"),
    }
    return site.page(request, "console/playground.html", "Playground", content=content, runtimes=runtimes)


def _runtime(runtime: Runtime) -> dict[str, Any]:
    return {
        "slug": runtime.slug,
        "name": runtime.name,
        "example": EXAMPLES.get(runtime.slug, ""),
        "most": f"at most {format_ms(runtime.wall_time_ms)}, {format_bytes(runtime.memory_bytes)}",
    }


def _start(request: HttpRequest) -> dict[str, Any] | None:
    """The execution to begin with, for whoever may see it."""
    given = request.GET.get("from", "")
    if not given:
        return None
    try:
        execution = Execution.objects.select_related("runtime").filter(pk=UUID(given)).first()
    except ValueError:
        execution = None
    if execution is None:
        raise Http404
    if not request.user.has_perm("executions.view_execution"):
        raise PermissionDenied
    return {
        "runtime": execution.runtime.slug,
        "mode": execution.mode,
        "code": execution.code,
        "arguments": execution.arguments,
        "stdin": execution.stdin,
    }


class MayPlay(BasePermission):
    message = "Your role does not run programs."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.user.is_active and request.user.has_perm(MAY_RUN))


class RunView(ApiView):
    """The API's POST /executions, for the session of a person."""

    authentication_classes = [SessionAuthentication]
    permission_classes = [MayPlay]

    def post(self, request: Request) -> Response:
        form = validated(ExecutionForm, request.data)
        runtime = submission.runtime_named(form["runtime"])
        wanted = submission.request_of(form, runtime=runtime, client=people.client(), http=request._request)
        try:
            execution = people.submit(wanted, request.user)
        except people.NotNow as e:
            raise Conflict(str(e), code="not_now") from e
        return Response(_addresses(execution), status=202)

    def get(self, request: Request) -> Response:
        try:
            execution = Execution.objects.select_related("runtime").get(
                pk=UUID(request.query_params.get("id", ""))
            )
        except (ValueError, Execution.DoesNotExist) as e:
            raise Http404 from e
        if not request.user.has_perm("executions.view_execution"):
            raise PermissionDenied
        phases = {name: round(ms, 1) for name, ms in execution.phases_ms().items()}
        return Response(representation.detail(execution) | {"phases_ms": phases})


def _addresses(execution: Execution) -> dict[str, str]:
    return {
        "id": str(execution.pk),
        "page": reverse("admin:executions_execution_change", args=[execution.pk]),
        "events": reverse("admin:executions_execution_events", args=[execution.pk]),
        "cancel": reverse("admin:executions_execution_cancel", args=[execution.pk]),
    }


def run(request: HttpRequest, *, site: ConsoleSite) -> HttpResponse:
    answer: HttpResponse = RunView.as_view()(request)
    return answer
