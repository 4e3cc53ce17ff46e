from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from clients.profiles import runtimes_under
from executions import people
from executions.models import Execution
from executions.sources import detail_cards
from inspections import services as inspections
from inspections import teaching
from inspections.models import Inspection, InspectionKind, InspectionState
from inspections.studies import MOST_EXECUTIONS
from runtimes.models import Runtime
from sandbox_platform.kit.actors import actor_name
from sandbox_platform.kit.errors import Refused
from sandbox_platform.kit.readonly import ReadOnlyAdmin
from seccomp_profiles.models import UNCONFINED, SeccompProfile, SeccompRevision
from seccomp_profiles.proof import page_context

OPEN = (InspectionState.QUEUED, InspectionState.RUNNING)
REPLAYED = 20
# Number of inspections on a profile's page. The change list has all of them.
LATEST = 8
# Tables with more rows are folded, under the first names.
FOLDED = 12
NAMED = 6
COUNTED = ("refused", "not_refused", "not_allowed", "cannot_tell", "not_tried")


@admin.register(Inspection)
class InspectionAdmin(ReadOnlyAdmin[Inspection]):
    empty_hint = (
        "Start probes, learning and dry runs on a profile's page. Keepers probe the profiles in force and describe the "
        "runtimes."
    )
    list_display = ("__str__", "created_at", "state", "verdict", "revision", "runtime", "summary", "requested_by")
    list_filter = ("kind", "state", "verdict", "runtime", ("revision__profile", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("revision__profile", "runtime")
    change_form_template = "admin/inspections/inspection/change_form.html"
    fieldsets = (
        (None, {"fields": ("kind", "state", "verdict", "summary", "subject", "found")}),
        ("Environment", {"fields": ("node", "runsc_version", "image_id", "runtime_revision")}),
        ("Record", {"fields": ("requested_by", "created_at", "started_at", "finished_at")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Inspection | None = None) -> Any:
        return [name for _, options in self.fieldsets for name in options["fields"]]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Inspection]:
        return super().get_queryset(request).select_related("revision__profile", "runtime")

    def get_urls(self) -> list[URLPattern]:
        def page(route: str, view: Any, name: str) -> URLPattern:
            wrapped = self.admin_site.admin_view(require_POST(view))
            pattern: URLPattern = path(route, wrapped, name=f"inspections_{name}")
            return pattern

        return [
            path("learn/", self.admin_site.admin_view(self.learn), name="inspections_inspection_learn"),
            page("ask/<str:kind>/", self.ask, "inspection_ask"),
            page("explain/<uuid:execution_id>/", self.explain, "inspection_explain"),
            page("<int:number>/cancel/", self.cancel, "inspection_cancel"),
            page("<int:number>/save/", self.save, "inspection_save"),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        inspection = self.get_object(request, object_id)
        extra = {
            "is_open": bool(inspection and inspection.state in OPEN),
            "proposes": bool(inspection and inspection.details.get("proposal")),
            "may_change": may_change(request),
        }
        return super().change_view(request, object_id, form_url, (extra_context or {}) | extra)

    @admin.display(description="Result")
    def summary(self, inspection: Inspection) -> str:
        return str(inspection.details.get("summary", ""))

    @admin.display(description="Subject")
    def subject(self, inspection: Inspection) -> SafeString:
        links = []
        if inspection.revision:
            links.append(
                link("seccomp_profiles_seccompprofile", inspection.revision.profile_id, inspection.revision)
            )
        if inspection.runtime:
            links.append(link("runtimes_runtime", inspection.runtime.pk, inspection.runtime))
        if inspection.runtime and inspection.kind == InspectionKind.DESCRIBE:
            page = reverse("admin:description", args=[inspection.runtime.pk])
            links.append(format_html('<a href="{}">What a program sees</a>', page))
        if inspection.execution_id:
            links.append(link("executions_execution", inspection.execution_id, inspection.execution_id))
        return format_html_join(" · ", "{}", ((one,) for one in links))

    @admin.display(description="Findings")
    def found(self, inspection: Inspection) -> SafeString:
        details = inspection.details
        parts = [table(head, rows) for head, rows in tables(details) if rows]
        return format_html_join("", "{}", ((part,) for part in parts))

    # -- Actions of buttons ------------------------------------------------------------------

    def learn(self, request: HttpRequest) -> HttpResponse:
        return teaching.learn(request, site=self.admin_site, may_change=may_change(request))

    def ask(self, request: HttpRequest, kind: str) -> HttpResponse:
        """Request a probe or a dry run.

        POST fields: `revision` and `runtime` as ids. Without `runtime`: every enabled runtime that uses the profile.
        """
        require_permission(request)
        revision = get_object_or_404(SeccompRevision, pk=number(request, "revision"))
        if runtime_id := number(request, "runtime"):
            runtimes = [get_object_or_404(Runtime, pk=runtime_id)]
        else:
            runtimes = runtimes_under(revision.profile)
        if kind not in (InspectionKind.PROBE, InspectionKind.REPLAY) or not runtimes:
            messages.error(request, "No enabled runtime uses the profile. Choose a runtime.")
            return redirect(request.META.get("HTTP_REFERER") or "admin:inspections_inspection_changelist")
        wanted: dict[str, Any] = {}
        if last := number(request, "last") or (REPLAYED if kind == InspectionKind.REPLAY else 0):
            wanted["last"] = min(last, MOST_EXECUTIONS)
        asked_for: dict[str, Any] = {"revision": revision, "by": actor_name(request.user), **wanted}
        client = people.client()
        try:
            with people.admission(client), transaction.atomic():
                requested = [
                    inspections.request(kind, runtime=runtime, client=client, **asked_for) for runtime in runtimes
                ]
        except Refused as e:
            messages.error(request, str(e))
            return redirect("admin:inspections_inspection_changelist")
        messages.success(request, f"{len(requested)} queued. A worker runs them one at a time.")
        return (
            redirect_to(requested[0])
            if len(requested) == 1
            else redirect("admin:inspections_inspection_changelist")
        )

    def explain(self, request: HttpRequest, execution_id: Any) -> HttpResponse:
        require_permission(request)
        execution = get_object_or_404(Execution.objects.select_related("runtime"), pk=execution_id)
        client = people.client()
        try:
            with people.admission(client):
                return redirect_to(inspections.explain(execution, by=actor_name(request.user), client=client))
        except Refused as e:
            messages.error(request, str(e))
            return redirect("admin:executions_execution_change", execution.pk)

    def cancel(self, request: HttpRequest, number: int) -> HttpResponse:
        require_permission(request)
        inspection = get_object_or_404(Inspection, pk=min(number, 2**63 - 1))
        if inspections.cancel(inspection):
            messages.success(request, "Cancelled.")
        return redirect_to(inspection)

    def save(self, request: HttpRequest, number: int) -> HttpResponse:
        require_permission(request)
        inspection = get_object_or_404(Inspection, pk=min(number, 2**63 - 1))
        try:
            name = request.POST.get("profile", "").replace("\0", "")
            revision = inspections.save_proposal(inspection, name=name, by=actor_name(request.user))
        except (Refused, ValidationError) as e:
            messages.error(request, " ".join(e.messages) if isinstance(e, ValidationError) else str(e))
            return redirect_to(inspection)
        messages.success(request, f"Saved as {revision}.")
        return redirect("admin:seccomp_profiles_seccompprofile_change", revision.profile_id)


def may_change(request: HttpRequest) -> bool:
    return request.user.has_perm(f"seccomp_profiles.change_{SeccompProfile._meta.model_name}")


def require_permission(request: HttpRequest) -> None:
    if not may_change(request):
        raise PermissionDenied


def number(request: HttpRequest, name: str) -> int:
    text = request.POST.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def redirect_to(inspection: Inspection) -> HttpResponse:
    return redirect("admin:inspections_inspection_change", inspection.pk)


def link(model: str, pk: Any, text: Any) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{model}_change", args=[pk]), text)


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> SafeString:
    """Return the table, folded under a line with its first names if it is long."""
    cells = format_html_join("", '<th scope="col">{}</th>', ((name,) for name in head))
    lines = ((format_html_join("", "<td>{}</td>", ((value,) for value in row)),) for row in rows)
    body = format_html_join("", "<tr>{}</tr>", lines)
    whole = format_html(
        '<div class="wide" tabindex="0"><table class="facts found"><thead><tr>{}</tr></thead>{}</table></div>',
        cells,
        body,
    )
    if len(rows) <= FOLDED:
        return whole
    return format_html(
        '<details class="found-more"><summary>{}: {} ({}, …)</summary>{}</details>',
        head[0].capitalize(),
        len(rows),
        format_html_join(", ", "{}", ((row[0],) for row in rows[:NAMED])),
        whole,
    )


def tables(details: dict[str, Any]) -> Iterable[tuple[tuple[str, ...], list[tuple[Any, ...]]]]:
    """Yield the head and the rows of each table. Tables of other kinds of inspection have no rows."""
    calls = details.get("calls", {})
    counted = [
        (name.replace("_", " "), len(calls[name]), ", ".join(calls[name])) for name in COUNTED if calls.get(name)
    ]
    yield ("calls", "number", "names"), counted
    programs = details.get("programs", {})
    if isinstance(programs, dict):
        broken = [
            (b["name"], b["complaint"], ", ".join(b.get("refused", ())) or b.get("untold", ""))
            for b in programs.get("broken", ())
        ]
        yield ("failing program", "error", "refused calls"), broken
    else:
        yield (
            ("traced program", "status", "distinct calls"),
            [(p["name"], p["status"], p["calls"]) for p in programs],
        )
    yield ("refused call", "times"), [(r["name"], r["times"]) for r in details.get("refused", ())]
    replayed = [
        (link("executions_execution", r["execution"], r["execution"]), r["outcome"], *replay_cells(r))
        for r in details.get("executions", ())
        if r["outcome"] != "same"
    ]
    yield ("execution", "outcome", "differs in", "status, in force → draft", "refused calls"), replayed
    difference = details.get("difference", {})
    for kind in ("denied", "allowed", "changed"):
        changes = [(c["syscall"], c["before"], c["after"], c["description"]) for c in difference.get(kind, ())]
        yield (f"newly {kind}", "before", "after", ""), changes


def replay_cells(result: dict[str, Any]) -> tuple[str, str, str]:
    ended = f"{result['was']} → {result['is']}" if "was" in result else ""
    return ", ".join(result.get("differs", ())), ended, ", ".join(result.get("refused", ()))


@detail_cards.register
def execution_cards(request: HttpRequest, execution: Execution) -> dict[str, Any]:
    # Without a profile no system call can be refused.
    filtered = execution.profile_name not in ("", UNCONFINED)
    explainable = filtered and bool(execution.image_id) and execution.is_finished
    return {
        "trace": Inspection.objects.newest_trace(execution.pk),
        "may_explain": explainable and request.user.has_perm("seccomp_profiles.change_seccompprofile"),
    }


@page_context.register
def profile_context(profile: SeccompProfile) -> dict[str, Any]:
    latest = Inspection.objects.filter(revision__profile=profile).select_related("revision", "runtime")
    return {"runtimes": Runtime.objects.enabled().order_by("slug"), "inspections": latest[:LATEST]}
