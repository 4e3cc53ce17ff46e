"""A program to try out, by hand: the form is the API's own, so what works here works for a caller."""

from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse

from console.site import ConsoleSite
from executions import people
from executions.models import Execution
from runtimes.models import Runtime
from sandbox_platform.kit.units import format_bytes, format_ms

# By slug: what an empty editor begins with. Others begin empty.
EXAMPLES = {
    "python": "def main(name: str) -> dict:\n    print(f'Hello, {name}')\n    return {'letters': len(name)}\n",
    "nodejs": "async function main({ name }) {\n  console.log(`Hello, ${name}`);\n"
    "  return { letters: name.length };\n}\nmodule.exports = { main };\n",
}


def page(request: HttpRequest, *, site: ConsoleSite) -> HttpResponse:
    if not request.user.has_perm(people.MAY_RUN):
        raise PermissionDenied
    runtimes = [_runtime(runtime) for runtime in Runtime.objects.enabled()]
    content = {
        "runtimes": runtimes,
        "start": _start(request),
        "run": reverse("playground_run"),
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
