"""The page of a runtime's description: what a program sees."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from inspections import descriptions, telling
from inspections.models import Inspection, InspectionState
from runtimes.models import Runtime
from sandbox_platform.kit.actors import actor_name

REFRESH_S = 2
MAY_VIEW, MAY_DESCRIBE = "runtimes.view_runtime", "runtimes.change_runtime"
# A longer list of packages gets a search field.
LONG = 20


def description(request: HttpRequest, *, site: Any, runtime_id: int) -> HttpResponse:
    if not request.user.has_perm(MAY_VIEW):
        raise PermissionDenied
    runtime = get_object_or_404(Runtime, pk=runtime_id)
    if request.method == "POST":
        if not request.user.has_perm(MAY_DESCRIBE):
            raise PermissionDenied
        descriptions.request(runtime, by=actor_name(request.user))
        messages.success(request, "Queued. A worker collects the facts in a sandbox of the runtime.")
        return redirect("admin:description", runtime.pk)
    shown = Inspection.objects.newest_description(runtime)
    last = Inspection.objects.descriptions().filter(runtime=runtime).first()
    page: HttpResponse = site.page(
        request,
        "inspections/description.html",
        f"What a program sees: {runtime.name}",
        runtime=runtime,
        shown=shown,
        is_open=bool(last and last.state in (InspectionState.QUEUED, InspectionState.RUNNING)),
        failure=last if last and last.state == InspectionState.FAILED else None,
        may_describe=request.user.has_perm(MAY_DESCRIBE),
        may_inspect=request.user.has_perm("inspections.view_inspection"),
        refresh=REFRESH_S,
        **(_told(shown.details["facts"]) if shown else {}),
    )
    return page


def _told(facts: dict[str, Any]) -> dict[str, Any]:
    packages = telling.packages(facts)
    return {
        "groups": telling.groups(facts),
        # The theme shows a variable named `environment` as its badge.
        "variables": telling.environment(facts),
        "packages": packages,
        "is_long": sum(len(each.found) for each in packages) > LONG,
    }
