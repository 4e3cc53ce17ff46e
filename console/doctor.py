"""The doctor's page. The web process has no access to Docker, so a worker runs the checks and stores the report."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from console.models import DoctorReport
from console.site import ConsoleSite
from sandbox_platform.kit import acts, liveness
from sandbox_platform.kit.acts import Kind
from sandbox_platform.kit.services import Service
from sandbox_platform.kit.tasks import Task
from sandboxes import nodes
from sandboxes.models import Node

EXAMINE = Task("doctor", "sandbox_platform.doctor.task.examine", senders=[Service.WEB])
# The values of sandbox_platform.doctor.check.Status, which lies in a higher layer.
BROKEN, WARNING, OK = "broken", "warning", "ok"
# A report that takes longer than this counts as lost.
PATIENCE_S = 120
REFRESH_S = 3


def page(request: HttpRequest, *, site: ConsoleSite) -> HttpResponse:
    if not request.user.has_perm("sandboxes.view_sandbox"):
        raise PermissionDenied
    if request.method == "POST":
        # The checks change nothing, so everybody who may see the page may run them.
        asked_by = request.user.get_username()
        defaults = {"asked_at": timezone.now(), "asked_by": asked_by, "finished_at": None}
        here = settings.SANDBOX_NODE
        # Where another node serves, nobody knows yet whose worker takes the task: it announces itself.
        is_here = not set(nodes.serving()) - {here}
        with transaction.atomic():
            if is_here:
                DoctorReport.objects.update_or_create(node=here, defaults=defaults)
            acts.done(
                Kind.CHECKED, f"node {here} by the doctor" if is_here else "a node by the doctor", http=request
            )
            EXAMINE.enqueue(asked_by)
        messages.success(request, "The checks were queued. A worker runs them.")
        return redirect(request.path)
    here = settings.SANDBOX_NODE
    worker, keeper = liveness.workers_alive(here), liveness.keeper_alive(here)
    # In a cluster, the web is on no node.
    is_node = Node.objects.filter(name=here).exists()
    reports = [_report(report) for report in DoctorReport.objects.order_by("node")]
    return site.page(
        request,
        "console/doctor.html",
        "Doctor",
        reports=reports,
        waits=any(report["waits"] for report in reports),
        refresh=REFRESH_S,
        ails=not nodes.serving() or (is_node and not (worker and keeper)),
        worker=worker,
        keeper=keeper,
        node=here,
    )


def _report(report: DoctorReport) -> dict[str, Any]:
    unfinished = report.asked_at and report.finished_at is None
    recent = report.asked_at and (timezone.now() - report.asked_at).total_seconds() < PATIENCE_S
    order = [BROKEN, WARNING, OK]
    checks = sorted(report.checks, key=lambda check: order.index(check["status"]))
    return {
        "report": report,
        "checks": checks,
        "waits": bool(unfinished and recent),
        "lost": bool(unfinished and not recent),
        "bad": sum(check["status"] != OK for check in checks),
    }
