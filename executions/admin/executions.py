from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten_fieldsets
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from executions.admin import rendering
from executions.admin.downloads import as_attachment
from executions.admin.filters import EndpointFilter, PeriodFilter
from executions.admin.paginator import EstimatingPaginator
from executions.admin.readonly import ReadOnlyAdmin
from executions.models import Artifact, Execution
from executions.searching import newest
from sandbox_platform.units import format_bytes, format_ms
from seccomp_profiles.models import Inspection

# Megabytes each: read for one execution, never for a list of them.
LARGE = (
    "code",
    "arguments",
    "stdin",
    "argv",
    "stdout",
    "stderr",
    "result",
    "policy_violations",
    "environment",
)
CUT = "Cut at the output limit: the program wrote more."
TEXTS = ("code", "stdout", "stderr", "result")


@admin.register(Execution)
class ExecutionAdmin(ReadOnlyAdmin[Execution]):
    list_display = (
        "short_id",
        "status_badge",
        "short_outcome",
        "runtime",
        "client",
        "queued",
        "duration",
        "memory",
        "start",
    )
    list_filter = (PeriodFilter, "status", "outcome", "runtime", "client", EndpointFilter, "warm")
    list_select_related = ("runtime", "client")
    list_per_page = 50
    search_fields = ("id",)  # that there is a search; see get_search_results
    search_help_text = (
        'An id, or words of code, standard output or standard error: "a phrase", -not, or, as in a web search.'
    )
    show_full_result_count = False
    paginator = EstimatingPaginator
    fieldsets = (
        (
            "What ran",
            {
                "fields": (
                    "runtime",
                    "client",
                    "endpoint",
                    "mode",
                    "code_text",
                    "arguments_text",
                    "input_text",
                )
            },
        ),
        (
            "Outcome",
            {"fields": ("status_badge", "outcome_text", "message_text", "exit", "policy", "refused_calls")},
        ),
        ("Output", {"fields": ("stdout_text", "stderr_text", "result_text", "artifact_list", "download")}),
        ("Phases", {"fields": ("phases",)}),
        ("Resources against limits", {"fields": ("resources", "all_limits")}),
        (
            "Provenance",
            {
                "fields": (
                    "id",
                    "queued_at",
                    "finished_at",
                    "remote_address",
                    "node",
                    "sandbox_id",
                    "warm",
                    "image_id",
                    "runtime_revision",
                    "profile_name",
                    "profile_revision",
                    "profile_sha256",
                    "runsc_version",
                    "code_sha256",
                    "environment_table",
                )
            },
        ),
    )
    change_form_template = "admin/executions/execution/change_form.html"
    readonly_fields = tuple(flatten_fieldsets(fieldsets))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Execution]:
        executions = super().get_queryset(request)
        match = request.resolver_match
        if match and match.url_name == "executions_execution_changelist":
            return executions.defer(*LARGE)
        return executions.select_related("runtime", "client")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        try:
            return queryset.filter(pk=UUID(search_term.strip())), False
        except ValueError:
            pass
        if not search_term.strip():
            return queryset, False
        ids, whole = newest(search_term, queryset)
        if not whole:
            messages.info(request, f"The newest {len(ids)} of those that match. More words find older ones.")
        return queryset.filter(pk__in=ids), False

    # --- Downloads ---

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<uuid:execution_id>/artifacts/<int:artifact_id>/",
                self.admin_site.admin_view(self.download_artifact),
                name="executions_execution_artifact",
            ),
            path(
                "<uuid:execution_id>/text/<str:field>/",
                self.admin_site.admin_view(self.download_text),
                name="executions_execution_text",
            ),
            *super().get_urls(),
        ]

    def _execution(self, request: HttpRequest, execution_id: UUID) -> Execution:
        execution = get_object_or_404(Execution, pk=execution_id)
        if not self.has_view_permission(request, execution):
            raise PermissionDenied
        return execution

    def download_artifact(self, request: HttpRequest, execution_id: UUID, artifact_id: int) -> HttpResponse:
        execution = self._execution(request, execution_id)
        artifact = get_object_or_404(Artifact, pk=artifact_id, execution=execution)
        return as_attachment(artifact.name, bytes(artifact.content))

    def download_text(self, request: HttpRequest, execution_id: UUID, field: str) -> HttpResponse:
        execution = self._execution(request, execution_id)
        if field not in TEXTS:
            raise PermissionDenied
        return as_attachment(f"{execution_id}-{field}.txt", (getattr(execution, field) or "").encode())

    # --- List ---

    @admin.display(description="Id", ordering="id")
    def short_id(self, execution: Execution) -> str:
        # The first digits of a UUIDv7 are its time, and alike for neighbours.
        return str(execution.pk)[-12:]

    @admin.display(description="Status", ordering="status")
    def status_badge(self, execution: Execution) -> SafeString:
        return rendering.badge(execution.status, execution.get_status_display())

    @admin.display(description="Outcome", ordering="outcome", empty_value="")
    def short_outcome(self, execution: Execution) -> str:
        return execution.outcome.replace("_", " ")

    @admin.display(description="Outcome")
    def outcome_text(self, execution: Execution) -> str:
        return execution.get_outcome_display()

    @admin.display(description="Queued at", ordering="queued_at")
    def queued(self, execution: Execution) -> str:
        return f"{localtime(execution.queued_at):%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Run time")
    def duration(self, execution: Execution) -> str | None:
        return None if execution.run_ms is None else format_ms(execution.run_ms)

    @admin.display(description="Memory", ordering="peak_memory_bytes")
    def memory(self, execution: Execution) -> str | None:
        peak = execution.peak_memory_bytes
        return None if peak is None else format_bytes(peak)

    @admin.display(description="Start", ordering="warm")
    def start(self, execution: Execution) -> str:
        return {True: "warm", False: "cold", None: ""}[execution.warm]

    # --- Detail ---

    @admin.display(description="Code")
    def code_text(self, execution: Execution) -> SafeString:
        return rendering.text(execution.code)

    @admin.display(description="Arguments")
    def arguments_text(self, execution: Execution) -> SafeString:
        return rendering.text(execution.arguments)

    @admin.display(description="Command line and standard input")
    def input_text(self, execution: Execution) -> SafeString:
        argv = " ".join(map(str, execution.argv))
        return rendering.text("\n".join(filter(None, (argv, execution.stdin))))

    @admin.display(description="Message of the platform")
    def message_text(self, execution: Execution) -> SafeString:
        return rendering.text(execution.message)

    @admin.display(description="Exit")
    def exit(self, execution: Execution) -> str:
        if execution.signal is not None:
            return f"signal {execution.signal}"
        return "none" if execution.exit_code is None else f"status {execution.exit_code}"

    @admin.display(description="Code policy")
    def policy(self, execution: Execution) -> SafeString:
        return rendering.violations(execution.policy_violations)

    @admin.display(description="Refused system calls")
    def refused_calls(self, execution: Execution) -> SafeString:
        trace = Inspection.objects.newest_trace(execution.pk)
        if trace is None:
            return format_html("Nobody asked yet.{}", "")
        url = reverse("admin:seccomp_profiles_inspection_change", args=[trace.pk])
        told = trace.details.get("summary") or trace.get_state_display()
        return format_html('<a href="{}">{}</a>', url, told)

    @admin.display(description="Standard output")
    def stdout_text(self, execution: Execution) -> SafeString:
        return self._output(execution.stdout, execution.stdout_truncated)

    @admin.display(description="Standard error")
    def stderr_text(self, execution: Execution) -> SafeString:
        return self._output(execution.stderr, execution.stderr_truncated)

    @staticmethod
    def _output(value: str, truncated: bool) -> SafeString:
        shown = rendering.text(value)
        return format_html('{}<p class="note">{}</p>', shown, CUT) if truncated else shown

    @admin.display(description="Result of main()")
    def result_text(self, execution: Execution) -> SafeString:
        return rendering.text(execution.result or "")

    @admin.display(description="Artifacts")
    def artifact_list(self, execution: Execution) -> SafeString:
        artifacts = execution.artifacts.defer("content")
        return rendering.files(
            (
                reverse("admin:executions_execution_artifact", args=[execution.pk, artifact.pk]),
                artifact.name,
                artifact.size,
            )
            for artifact in artifacts
        )

    @admin.display(description="Download whole")
    def download(self, execution: Execution) -> SafeString:
        return rendering.files(
            (
                reverse("admin:executions_execution_text", args=[execution.pk, field]),
                field,
                len((getattr(execution, field) or "").encode()),
            )
            for field in TEXTS
            if getattr(execution, field)
        )

    @admin.display(description="Timeline")
    def phases(self, execution: Execution) -> SafeString:
        return rendering.timeline(execution)

    @admin.display(description="Used")
    def resources(self, execution: Execution) -> SafeString:
        return rendering.resources(execution)

    @admin.display(description="All limits")
    def all_limits(self, execution: Execution) -> SafeString:
        return rendering.limits(execution)

    @admin.display(description="Environment")
    def environment_table(self, execution: Execution) -> SafeString:
        return rendering.pairs(execution.environment)
