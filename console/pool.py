"""The pool page: every sandbox, each runtime's memory cost and hit rate, and the actions drain, resize and kill."""

import dataclasses
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Avg, F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone

from console import nodes
from console.nodes import Question
from console.site import ConsoleSite
from executions import figures, pooling
from executions.idle import idle_memory
from executions.models.ids import short_id
from runtimes.models import Runtime
from sandbox_platform.kit.units import format_bytes, format_ms
from sandboxes.models import Sandbox, SandboxState

REFRESH_S = 5
RECENT = timedelta(hours=24)
PERMISSIONS = {"resize": "runtimes.change_runtime", **dict.fromkeys(nodes.ACTS, nodes.MAY)}


class SizeForm(forms.Form):
    pool_min = forms.IntegerField(min_value=0, max_value=200, label="minimum")
    pool_max = forms.IntegerField(min_value=0, max_value=200, label="maximum")

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        if data.get("pool_min", 0) > data.get("pool_max", 0):
            raise forms.ValidationError("The minimum is above the maximum.")
        return data


def page(request: HttpRequest, *, site: ConsoleSite) -> HttpResponse:
    if not request.user.has_perm("sandboxes.view_sandbox"):
        raise PermissionDenied
    if request.method == "POST":
        question = _act(request)
        if question is None:
            return redirect(request.path)
        fields = {name: request.POST.get(name, "") for name in ("action", "sandbox", "runtime", "node")}
        return site.page(
            request,
            "console/confirm.html",
            "Pool",
            fields=fields,
            back=request.path,
            **dataclasses.asdict(question),
        )
    runtimes = _runtimes()
    sandboxes = list(Sandbox.objects.select_related("runtime").order_by("runtime__slug", "node", "id"))
    return site.page(
        request,
        "console/pool.html",
        "Pool",
        pooled=[row for row in runtimes if row["pooled"]],
        others=[
            (words, [row for row in runtimes if not row["pooled"] and row["runtime"].enabled == enabled])
            for words, enabled in (("Without warm sandboxes", True), ("Disabled", False))
        ],
        nodes=nodes.rows(sandboxes),
        sandboxes=[_row(sandbox) for sandbox in sandboxes],
        refresh=REFRESH_S,
        may_drain=request.user.has_perm("sandboxes.drain_sandbox"),
        may_drain_nodes=request.user.has_perm(nodes.MAY),
        may_resize=request.user.has_perm("runtimes.change_runtime"),
    )


def _act(request: HttpRequest) -> Question | None:
    """Do what was asked for, and return None; or return what to ask first."""
    what = request.POST.get("action", "")
    permission = PERMISSIONS.get(what, "sandboxes.drain_sandbox")
    if not request.user.has_perm(permission):
        raise PermissionDenied
    confirmed = request.POST.get("confirmed") == "yes"
    if what in nodes.ACTS:
        return nodes.act(request, what, confirmed)
    if what == "kill":
        return _kill(request, Sandbox.objects.filter(pk=_number(request, "sandbox")).first(), confirmed)
    runtime = get_object_or_404(Runtime, pk=_number(request, "runtime"))
    if what == "drain":
        return _drain(request, runtime, confirmed)
    form = SizeForm(request.POST)
    if what != "resize" or not form.is_valid():
        messages.error(request, " ".join(str(error) for errors in form.errors.values() for error in errors))
        return None
    pooling.resize(runtime, **form.cleaned_data)
    messages.success(request, f"The pool of {runtime} holds {runtime.pool_min} to {runtime.pool_max}.")
    return None


def _kill(request: HttpRequest, sandbox: Sandbox | None, confirmed: bool) -> Question | None:
    if sandbox and not confirmed:
        return Question(
            f"Kill the sandbox {sandbox}?",
            f"The execution {short_id(sandbox.execution_id)} runs in it and is cancelled."
            if sandbox.execution_id
            else f"It waits for a run of {sandbox.runtime}. The keeper starts another one.",
            "Kill",
        )
    killed = sandbox is not None and pooling.kill(sandbox, http=request)
    messages.success(request, "Removing the sandbox." if killed else "The sandbox was already gone.")
    return None


def _drain(request: HttpRequest, runtime: Runtime, confirmed: bool) -> Question | None:
    if not confirmed:
        warm = runtime.sandboxes.filter(state=SandboxState.READY).count()
        return Question(
            f"Replace the {warm} warm sandbox{'' if warm == 1 else 'es'} of {runtime}?",
            "Runs go on. Until the keeper has started fresh sandboxes, runs begin with a cold start.",
            "Drain",
        )
    number = pooling.drain(runtime, http=request)
    messages.success(request, f"Replacing {number} warm sandbox{'' if number == 1 else 'es'} of {runtime}.")
    return None


def _number(request: HttpRequest, name: str) -> int:
    value = request.POST.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else 0


def _runtimes() -> list[dict[str, Any]]:
    rows = figures.counts(timezone.now() - RECENT)
    took = F("ready_at") - F("created_at")
    refill = dict(
        Sandbox.objects.filter(ready_at__isnull=False).values_list("runtime").annotate(took=Avg(took)).order_by()
    )
    shown = []
    for runtime in Runtime.objects.order_by("slug"):
        mine = [row for row in rows if row["runtime_id"] == runtime.pk]
        warm, cold = sum(row["warm"] for row in mine), sum(row["cold"] for row in mine)
        states = list(runtime.sandboxes.values_list("state", "runtime_revision"))
        shown.append(
            {
                "runtime": runtime,
                "ready": sum(
                    state == SandboxState.READY and revision == runtime.revision for state, revision in states
                ),
                "all": len(states),
                # By configuration: a card would change its place with each cold start.
                "pooled": runtime.enabled and runtime.pool_min > 0,
                "hit_rate": f"{100 * warm / (warm + cold):.0f} %" if warm + cold else "no runs",
                "refill": f"{format_ms(refill[runtime.pk].total_seconds() * 1000)} per sandbox on average"
                if runtime.pk in refill
                else "unknown: no warm sandbox",
                **_memory(runtime),
            }
        )
    return shown


def _memory(runtime: Runtime) -> dict[str, str]:
    idle = idle_memory(runtime)
    return {
        "memory": format_bytes(runtime.memory_bytes),
        "idle": format_bytes(idle.bytes),
        "source": idle.source,
        "rest": format_bytes(idle.bytes * runtime.pool_min),
        "full": format_bytes(idle.bytes * runtime.pool_max),
        "worst": format_bytes(runtime.memory_bytes * runtime.pool_max),
    }


def _row(sandbox: Sandbox) -> dict[str, Any]:
    return {
        "sandbox": sandbox,
        "old": sandbox.runtime_revision != sandbox.runtime.revision,
        "age": format_ms(max(0, (timezone.now() - sandbox.created_at) // timedelta(seconds=1)) * 1000),
        "memory": "not measured yet" if sandbox.memory_bytes is None else format_bytes(sandbox.memory_bytes),
        "limit": format_bytes(sandbox.runtime.memory_bytes),
        "killable": sandbox.state in (SandboxState.READY, SandboxState.CLAIMED),
    }
