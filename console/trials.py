"""Test runs of a runtime: its smoke programs run as ordinary executions, compared with their expected ends."""

from typing import Any
from uuid import UUID

import uuid_utils.compat
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from rest_framework.exceptions import APIException

from console.site import ConsoleSite
from executions import people, representation
from executions.forms import LONGEST_LABEL
from executions.models import Execution
from runtimes import smoke
from runtimes.models import Runtime
from sandbox_platform.kit.errors import Refused
from sandbox_platform.kit.units import format_ms

# Labels of these executions: the id of the test run, and the name of the program.
TRIAL, PROGRAM = "trial", "smoke"
REFRESH_S = 2
# The last test run is searched among this many of the console's newest executions of the runtime.
LOOKED_AT = 500
# Program for a runtime without smoke programs, by the suffix of its source file.
HELLO = {
    ".py": 'print("hello")',
    ".js": 'console.log("hello")',
    ".ts": 'console.log("hello")',
    ".sh": "echo hello",
    ".rb": 'puts "hello"',
    ".pl": 'print "hello\\n";',
    ".lua": 'print("hello")',
    ".awk": 'BEGIN { print "hello" }',
}


def page(request: HttpRequest, *, site: ConsoleSite, runtime_id: int) -> HttpResponse:
    if not request.user.has_perm(people.MAY_RUN) or not request.user.has_perm("runtimes.view_runtime"):
        raise PermissionDenied
    runtime = get_object_or_404(Runtime, pk=runtime_id)
    if request.method == "POST":
        return _start(request, runtime)
    trial = request.GET.get("trial") or _last(runtime)
    rows = _rows(runtime, trial) if trial else []
    return site.page(
        request,
        "console/trial.html",
        f"Test run of {runtime}",
        runtime=runtime,
        programs=programs(runtime),
        own=bool(runtime.smoke),
        trial=trial,
        rows=rows,
        good=sum(row["state"] == "ok" for row in rows),
        waits=any(row["state"] == "open" for row in rows),
        refresh=REFRESH_S,
        history=f"{reverse('admin:executions_execution_changelist')}?runtime__id__exact={runtime.pk}",
    )


def programs(runtime: Runtime) -> list[dict[str, Any]]:
    """Return the runtime's smoke programs, else a hello program in its language, if known, else []."""
    if runtime.smoke:
        return list(runtime.smoke)
    hello = next((code for suffix, code in HELLO.items() if runtime.source_file.endswith(suffix)), None)
    return [{"name": "hello", "code": hello, "expect": {"stdout": "hello\n"}}] if hello else []


def _start(request: HttpRequest, runtime: Runtime) -> HttpResponse:
    trial = str(uuid_utils.compat.uuid7())
    here = reverse("admin:trial", args=[runtime.pk])
    started = 0
    for program in programs(runtime):
        labels = {TRIAL: trial, PROGRAM: program["name"][:LONGEST_LABEL]}
        try:
            wanted = smoke.submission(program, runtime.slug) | {"labels": labels}
            people.run(wanted, by=request.user, http=request)
            started += 1
        except (Refused, APIException) as e:
            messages.error(request, f"{program['name']} could not be started: {e}")
    return redirect(f"{here}?trial={trial}" if started else here)


def _last(runtime: Runtime) -> str:
    mine = Execution.objects.filter(client=people.client(), runtime=runtime).order_by("-id")
    found = (labels.get(TRIAL) for labels in mine.values_list("labels", flat=True)[:LOOKED_AT])
    return next((trial for trial in found if trial), "")


def _rows(runtime: Runtime, trial: str) -> list[dict[str, Any]]:
    try:
        labels = {TRIAL: str(UUID(trial))}
    except ValueError:
        return []
    known = {program["name"][:LONGEST_LABEL]: program for program in programs(runtime)}
    executions = Execution.objects.filter(runtime=runtime, client=people.client(), labels__contains=labels)
    return [
        _row(execution, known.get(execution.labels.get(PROGRAM, "")))
        for execution in executions.order_by("id").prefetch_related("artifacts")
    ]


def _row(execution: Execution, program: dict[str, Any] | None) -> dict[str, Any]:
    row = {"execution": execution, "name": execution.labels.get(PROGRAM, ""), "wrong": [], "took": ""}
    if not execution.is_finished:
        return row | {"state": "open"}
    if execution.run_ms is not None:
        row["took"] = format_ms(execution.run_ms)
    if program is None:
        return row | {"state": "warning", "wrong": ["the runtime no longer has this smoke program"]}
    shown = representation.listed(execution, ("status", "outcome", "exit_code", "stdout", "stderr", "result"))
    names = [artifact.name for artifact in execution.artifacts.all()]
    wrong = smoke.disagreements(program, shown, names)
    return row | {"state": "broken" if wrong else "ok", "wrong": wrong}
