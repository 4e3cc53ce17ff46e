from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.views.decorators.http import require_POST

from executions import export, people, representation, rerun, services
from executions.admin import changelist, comparison, detail, files, rendering, watching
from executions.admin.filters import BeforeFilter, DurationFilter, EndpointFilter, LabelFilter, QueuedFilter
from executions.admin.paginator import EstimatingPaginator
from executions.admin.searches import searches_of
from executions.models import Artifact, Execution, InputFile, Outcome
from executions.models.execution import LARGE
from executions.models.ids import short_id
from redaction import services as redaction
from sandbox_platform.kit import html
from sandbox_platform.kit.errors import Refused
from sandbox_platform.kit.exports import MEDIA_TYPES
from sandbox_platform.kit.ranges import TimeRange, picker
from sandbox_platform.kit.readonly import ReadOnlyAdmin
from sandbox_platform.kit.units import format_bytes, format_ms

# The columns of search results, where the hit replaces details that the execution's page shows.
SEARCH_COLUMNS = ("short_id", "status_badge", "hit", "runtime", "client", "queued", "duration", "marks")


@admin.register(Execution)
class ExecutionAdmin(ReadOnlyAdmin[Execution]):
    empty_hint = "Run a program in the playground, or give a caller a token."
    list_display = (
        "short_id",
        "status_badge",
        "short_outcome",
        "runtime",
        "client",
        "queued",
        "duration",
        "memory",
        "marks",
    )
    list_filter = (
        *("status", "outcome", "runtime", "client", LabelFilter, DurationFilter, EndpointFilter),
        *("warm", "engine", QueuedFilter, BeforeFilter),
    )
    list_select_related = ("runtime", "client")
    sortable_by = tuple(changelist.ORDERS)
    list_per_page = 50
    list_before_template = "executions/list_tools.html"
    # Links to a batch and to reruns.
    linked_lookups = ("batch_id", "rerun_of", "request_id")
    # Django applies the dates of the query string; changelist.drill_down makes the links.
    date_hierarchy = "queued_at"
    search_fields = ("id",)
    # Also a part of an id, the X-Request-Id of a request, "a phrase", -word and OR: docs/console.md.
    search_help_text = "Id, or words in code and output"
    show_full_result_count = False
    # Facets would count the whole history, once per choice.
    show_facets = admin.ShowFacets.NEVER
    paginator = EstimatingPaginator
    fields = ("id",)
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Execution]:
        executions = super().get_queryset(request)
        match = request.resolver_match
        if match and match.url_name == "executions_execution_changelist":
            return executions.defer(*LARGE)
        return executions.select_related("runtime", "client")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        exported = bool(
            request.resolver_match and request.resolver_match.url_name == "executions_execution_export"
        )
        found, rest = changelist.search(queryset, search_term, request, whole=exported)
        if rest and exported:
            messages.info(request, "The export has only the newest matches. Add words, or choose a shorter time.")
        elif rest:
            messages.info(request, changelist.go_on(request, rest))
        return found, False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[changelist.ExecutionList]:
        return changelist.ExecutionList

    def get_list_display(self, request: HttpRequest) -> Any:
        shown = super().get_list_display(request)
        return SEARCH_COLUMNS if request.GET.get("q") else shown

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        return lookup in self.linked_lookups or super().lookup_allowed(lookup, value, request)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        tools = {
            "drill_down": changelist.drill_down(request),
            "picker": picker(
                request,
                TimeRange.of(request),
                everything=True,
                without=changelist.VOID,
            ),
            "saved": searches_of(request),
            "exports": [(kind, self._export_url(request, kind)) for kind in MEDIA_TYPES],
        }
        return super().changelist_view(request, tools | (extra_context or {}))

    def _export_url(self, request: HttpRequest, kind: str) -> str:
        query = request.GET.urlencode()
        return f"{reverse('admin:executions_execution_export', args=[kind])}?{query}"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        try:
            found = self.get_queryset(request).filter(pk=UUID(object_id)).first()
        except ValueError:
            found = None
        if found is not None and self.has_view_permission(request, found):
            extra_context = detail.context_of(request, redaction.shown(found)) | (extra_context or {})
        return super().change_view(request, object_id, form_url, extra_context)

    # --- Other views ---

    def get_urls(self) -> list[URLPattern]:
        one = "<uuid:execution_id>/"
        views: dict[str, tuple[str, Callable[..., Any]]] = {
            one + "artifacts/<int:file_id>/": ("artifact", self.artifact),
            one + "artifacts/<int:file_id>/preview/": ("artifact_preview", partial(self.artifact, preview=True)),
            one + "inputs/<int:file_id>/": ("input", self.input_file),
            one + "inputs/<int:file_id>/preview/": ("input_preview", partial(self.input_file, preview=True)),
            one + "text/<str:field>/": ("text", self.download_text),
            one + "events/": ("events", self.events),
            one + "cancel/": ("cancel", require_POST(self.cancel)),
            one + "rerun/": ("rerun", self.rerun),
            one + "comparison/": ("comparison", self.compare),
            "export.<str:kind>": ("export", self.export),
        }
        added = [
            path(address, self.admin_site.admin_view(view), name=f"executions_execution_{name}")
            for address, (name, view) in views.items()
        ]
        return added + super().get_urls()

    def _execution(self, request: HttpRequest, execution_id: UUID, permission: str = "view") -> Execution:
        execution = get_object_or_404(Execution.objects.select_related("runtime"), pk=execution_id)
        if not request.user.has_perm(f"executions.{permission}_execution"):
            raise PermissionDenied
        return execution

    def artifact(
        self, request: HttpRequest, execution_id: UUID, file_id: int, preview: bool = False
    ) -> HttpResponse:
        execution = self._execution(request, execution_id)
        file = get_object_or_404(Artifact, pk=file_id, execution=execution)
        return files.send(request, execution, "artifact", file.name, bytes(file.content), preview=preview)

    def input_file(
        self, request: HttpRequest, execution_id: UUID, file_id: int, preview: bool = False
    ) -> HttpResponse:
        execution = self._execution(request, execution_id)
        file = get_object_or_404(InputFile, pk=file_id, execution=execution)
        (name,) = redaction.shown_names(execution, [file.path])
        return files.send(request, execution, "input", name, bytes(file.content), preview=preview)

    def download_text(self, request: HttpRequest, execution_id: UUID, field: str) -> HttpResponse:
        execution = self._execution(request, execution_id)
        if field not in detail.TEXTS:
            raise PermissionDenied
        content = getattr(redaction.shown(execution), field) or ""
        return files.send(request, execution, "text", field, content.encode())

    def events(self, request: HttpRequest, execution_id: UUID) -> HttpResponseBase:
        self._execution(request, execution_id)
        return watching.stream(request, execution_id)

    def export(self, request: HttpRequest, kind: str) -> HttpResponseBase:
        """Export all pages of the list, with its filters."""
        if kind not in MEDIA_TYPES:
            raise Http404
        if not self.has_view_permission(request):
            raise PermissionDenied
        executions = self.get_changelist_instance(request).get_queryset(request)
        return export.download(executions, list(representation.SMALL), kind, http=request)

    def cancel(self, request: HttpRequest, execution_id: UUID) -> HttpResponse:
        execution = self._execution(request, execution_id, "cancel")
        if services.cancel(execution.pk, outcome=Outcome.CANCEL_REQUESTED, http=request):
            self.log_change(request, execution, "Cancelled.")
            self.message_user(request, "The execution is being cancelled.", messages.SUCCESS)
        else:
            self.message_user(request, "The execution had already ended.", messages.WARNING)
        return redirect("admin:executions_execution_change", execution_id)

    def rerun(self, request: HttpRequest, execution_id: UUID) -> HttpResponse:
        earlier = self._execution(request, execution_id, "run")
        client = people.client_of(earlier)
        context: dict[str, Any] = {
            "execution": earlier,
            "original": earlier,
            "client": client,
            "title": f"Run {short_id(earlier.pk)} again",
        }
        try:
            differences, obstacles = rerun.look(earlier, client)
        except Refused as e:
            context["error"] = str(e)
        else:
            if request.method == "POST":
                return self._run_again(request, earlier, obstacles)
            shown = [
                {"field": row["field"]}
                | {side: rendering.setting(row["field"], row[side]) for side in ("then", "now")}
                for row in differences
            ]
            context |= {"differences": shown, "obstacles": obstacles}
        site = self.admin_site.each_context(request)
        return TemplateResponse(request, "executions/rerun.html", site | {"opts": self.opts} | context)

    def _run_again(self, request: HttpRequest, earlier: Execution, obstacles: list[str]) -> HttpResponse:
        pinned = request.POST.get("configuration") == "then"
        try:
            if pinned:
                rerun.refuse_gone_configuration(obstacles)
            wanted = rerun.request_of(
                earlier, pinned=pinned, client=people.client_of(earlier), http=request, endpoint=people.ENDPOINT
            )
            execution = people.submit(wanted, request.user)
        except Refused as e:
            self.message_user(request, str(e), messages.ERROR)
            return redirect(request.path)
        return redirect("admin:executions_execution_change", execution.pk)

    def compare(self, request: HttpRequest, execution_id: UUID) -> HttpResponse:
        later = self._execution(request, execution_id)
        if later.rerun_of is None:
            raise Http404
        context = {
            "title": f"Comparison of {short_id(later.rerun_of)} and {short_id(later.pk)}",
            "badge": html.badge(later.status, later.get_status_display()),
            "events_url": reverse("admin:executions_execution_events", args=[later.pk]),
        }
        site = self.admin_site.each_context(request)
        context |= site | comparison.context_of(later)
        return TemplateResponse(request, "executions/comparison.html", context)

    # --- List ---

    @admin.display(description="Id", ordering="id")
    def short_id(self, execution: Execution) -> str:
        return short_id(execution.pk)

    @admin.display(description="Status")
    def status_badge(self, execution: Execution) -> SafeString:
        return html.badge(execution.status, execution.get_status_display())

    @admin.display(description="Match")
    def hit(self, execution: Any) -> SafeString:
        return changelist.marked(getattr(execution, "hits", {}))

    @admin.display(description="Outcome", empty_value="")
    def short_outcome(self, execution: Execution) -> str:
        return execution.get_outcome_display()

    @admin.display(description="Queued at", ordering="queued_at")
    def queued(self, execution: Execution) -> str:
        return f"{localtime(execution.queued_at):%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Run time", ordering=changelist.ORDERS["duration"])
    def duration(self, execution: Execution) -> str | None:
        return None if execution.run_ms is None else format_ms(execution.run_ms)

    @admin.display(description="Peak memory", ordering=changelist.ORDERS["memory"])
    def memory(self, execution: Execution) -> str | None:
        peak = execution.peak_memory_bytes
        return None if peak is None else format_bytes(peak)

    @admin.display(description="Details", empty_value="")
    def marks(self, execution: Execution) -> SafeString:
        return rendering.marks(redaction.shown(execution))
