"""The playground: run a program by hand. It submits the API's own form, so what works here works through the API."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse

from console import trials
from console.site import ConsoleSite
from executions import people
from executions.models import Execution
from redaction import services as redaction
from runtimes import smoke
from runtimes.models import Runtime
from sandbox_platform.kit.units import format_bytes, format_ms

# First examples of these runtimes, before their smoke programs: they show how main() is called.
FIRST = {
    "python": {
        "name": "function",
        "mode": "function",
        "code": "def main(name: str) -> dict:\n    print(f'Hello, {name}')\n    return {'letters': len(name)}\n",
        "arguments": {"name": "world"},
    },
    "nodejs": {
        "name": "function",
        "mode": "function",
        "code": "async function main({ name }) {\n  console.log(`Hello, ${name}`);\n"
        "  return { letters: name.length };\n}\nmodule.exports = { main };\n",
        "arguments": {"name": "world"},
    },
}


def page(request: HttpRequest, *, site: ConsoleSite) -> HttpResponse:
    if not request.user.has_perm(people.MAY_RUN):
        raise PermissionDenied
    runtimes = [_runtime(runtime) for runtime in Runtime.objects.enabled()]
    content = {
        "runtimes": runtimes,
        "start": _start(request),
        "run": reverse("playground_run"),
        # The absolute URL, for the examples of the same call through the API.
        "api": request.build_absolute_uri("/api/v1/executions"),
    }
    return site.page(request, "console/playground.html", "Playground", content=content, runtimes=runtimes)


def _runtime(runtime: Runtime) -> dict[str, Any]:
    programs = [program for program in trials.programs(runtime) if smoke.succeeds(program)]
    first = [FIRST[runtime.slug]] if runtime.slug in FIRST else []
    return {
        "slug": runtime.slug,
        "name": runtime.name,
        "modes": list(runtime.modes),
        "examples": [_example(program) for program in (*first, *programs)],
        "most": f"at most {format_ms(runtime.wall_time_ms)}, {format_bytes(runtime.memory_bytes)}",
    }


def _example(program: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": program["name"],
        "mode": program.get("mode", "script"),
        "code": program["code"],
        "arguments": json.dumps(program.get("arguments", {}), ensure_ascii=False),
        "stdin": program.get("stdin", ""),
        "files": [{"path": path, "content": content} for path, content in program.get("files", {}).items()],
        "argv": list(program.get("argv", [])),
    }


def _start(request: HttpRequest) -> dict[str, Any] | None:
    """Return the program of the execution named by `?from=`, or None. Raises Http404 and PermissionDenied."""
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
    execution = redaction.shown(execution)
    return {
        "runtime": execution.runtime.slug,
        "mode": execution.mode,
        "code": execution.code,
        "arguments": execution.arguments,
        "stdin": execution.stdin,
        "argv": execution.argv,
    }
