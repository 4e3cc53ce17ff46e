"""The console's pages of failures, the history's filter by one, and the way from a failed run to its group."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from executions.admin.executions import ExecutionAdmin
from executions.failures import figures
from executions.failures.grouping import KEPT
from executions.failures.models import FailureGroup, FailureRun
from executions.models import Execution
from executions.models.ids import short_id
from executions.sources import detail_cards
from sandbox_platform.kit import html
from sandbox_platform.kit.generics import ChangeList
from sandbox_platform.kit.ranges import TimeRange, TimeRangeFilter, picker
from sandbox_platform.kit.readonly import ReadOnlyAdmin

LATEST = 20
# Of a failure with more runs, the history shows the newest ones: sorting all of them takes too long.
LISTED = 1000
EXPORT = "executions_execution_export"


class SeenFilter(TimeRangeFilter):
    """Keeps the groups with runs in the range, and counts these runs."""

    title = "seen"

    def within(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return figures.seen(queryset, self.range)


class FailureList(ChangeList):  # type: ignore[misc]
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        ids = [group.pk for group in self.result_list]
        trends, latest = figures.trends(ids, figures.Bins.of(TimeRange.of(request))), figures.latest(ids)
        for group in self.result_list:
            group.trend_values, group.latest_id = trends[group.pk], latest.get(group.pk)


@admin.register(FailureGroup)
class FailureAdmin(ReadOnlyAdmin[FailureGroup]):
    empty_hint = "A failed run is here some seconds after its end."
    list_display = (
        *("failure", "kind_badge", "client_name", "runtime_name"),
        *("run_count", "trend", "first", "last", "latest_run"),
    )
    list_filter = ("kind", "client", "runtime", SeenFilter)
    list_select_related = ("client", "runtime")
    list_per_page = 50
    list_before_template = "failures/list_tools.html"
    search_fields = ("title", "message", "place")
    search_help_text = "Exception, message, file or function"
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    ordering = ("-last_at", "-pk")
    fields = ("title",)
    readonly_fields = fields

    class Media:
        css = {"all": ("failures/failures.css",)}

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A group tells about runs: whoever may not see the history sees no group."""
        seen = super().has_view_permission(request, obj)
        return bool(seen and request.user.has_perm("executions.view_execution"))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[FailureList]:
        return FailureList

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        chosen = TimeRange.of(request)
        tools = {
            "picker": picker(request, chosen, everything=True),
            "bins": figures.Bins.of(chosen),
            "kept_days": KEPT.days,
        }
        return super().changelist_view(request, tools | (extra_context or {}))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        group = self.get_object(request, object_id)
        if group is not None and self.has_view_permission(request, group):
            extra_context = _context_of(request, group) | (extra_context or {})
        return super().change_view(request, object_id, form_url, extra_context)

    # --- List ---

    @admin.display(description="Failure", ordering="title")
    def failure(self, group: FailureGroup) -> SafeString:
        # One element holds all: on a phone, each child of a cell becomes a box.
        return format_html(
            '<span class="failure"><b>{}</b>{}{}</span>',
            group.title,
            group.message and format_html("<span>{}</span>", group.message),
            group.place and format_html('<span class="note">{}</span>', group.place),
        )

    @admin.display(description="Kind", ordering="kind")
    def kind_badge(self, group: FailureGroup) -> SafeString:
        return html.badge(STATUS_OF.get(group.kind, "failed"), group.get_kind_display())

    @admin.display(description="Client", ordering="client__name", empty_value="no client")
    def client_name(self, group: FailureGroup) -> str | None:
        return str(group.client) if group.client else None

    @admin.display(description="Runtime", ordering="runtime__slug")
    def runtime_name(self, group: FailureGroup) -> str:
        return group.runtime.slug if group.runtime else ""

    @admin.display(description="Runs", ordering="seen")
    # Not `runs`: that is a relation, by which the list would be sorted.
    def run_count(self, group: Any) -> SafeString:
        address = f"{reverse('admin:executions_execution_changelist')}?failure={group.pk}"
        return format_html('<a href="{}">{}</a>', address, f"{group.seen:,}")

    @admin.display(description="Trend")
    def trend(self, group: Any) -> SafeString:
        return figures.sparkline(group.trend_values)

    @admin.display(description="First", ordering="first_at")
    def first(self, group: FailureGroup) -> str:
        return _at(group.first_at)

    @admin.display(description="Last", ordering="last_at")
    def last(self, group: FailureGroup) -> str:
        return _at(group.last_at)

    @admin.display(description="Latest run")
    def latest_run(self, group: Any) -> SafeString | str:
        return _run_link(group.latest_id) if group.latest_id else ""


# The colours that the history has for the same ends.
STATUS_OF = {
    "time": "timed_out",
    "memory": "out_of_memory",
    "output": "output_limit",
    "rejected": "rejected",
    "queue": "cancelled",
    "platform": "platform_error",
    "other": "cancelled",
}


def _at(at: Any) -> str:
    return f"{localtime(at):%Y-%m-%d %H:%M:%S}"


def _run_link(execution_id: UUID) -> SafeString:
    address = reverse("admin:executions_execution_change", args=[execution_id])
    return format_html('<a href="{}"><code class="id">{}</code></a>', address, short_id(execution_id))


def _context_of(request: HttpRequest, group: FailureGroup) -> dict[str, Any]:
    chosen = TimeRange.of(request)
    bins = figures.Bins.of(chosen)
    values = figures.trends([group.pk], bins)[group.pk]
    runs = Execution.objects.filter(pk__in=figures.newest_runs(group.pk, LATEST, chosen)).order_by("-pk")
    history = f"{reverse('admin:executions_execution_changelist')}?failure={group.pk}"
    return {
        "group": group,
        "title": str(group)[:120],
        "badge": html.badge(STATUS_OF.get(group.kind, "failed"), group.get_kind_display()),
        "picker": picker(request, chosen, everything=True),
        "bins": bins,
        "chart": figures.chart(values, bins),
        "rows": [row for row in zip(bins.labels, values, strict=True) if row[1]],
        "total": sum(values),
        "runs": [
            {
                "link": _run_link(run.pk),
                "badge": html.badge(run.status, run.get_status_display()),
                "outcome": run.get_outcome_display(),
                "ended": _at(run.finished_at),
                "exit": "" if run.exit_code is None else run.exit_code,
                "program": run.code_sha256[:12],
            }
            for run in runs.only("status", "outcome", "finished_at", "exit_code", "code_sha256")
        ],
        "history": history,
    }


class FailureFilter(admin.SimpleListFilter):
    """Filters the history by one failure, to which only links lead."""

    title = "failure"
    parameter_name = "failure"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        value = request.GET.get(self.parameter_name, "")
        group = FailureGroup.objects.filter(pk=value).first() if _is_uuid(value) else None
        return [(value, str(group) if group else "unknown")] if value else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        if not _is_uuid(value):
            messages.error(request, "failure: Is not the id of a failure. Open one on the page Failures.")
            return queryset.none()
        if request.resolver_match and request.resolver_match.url_name == EXPORT:
            return queryset.filter(failure__group=value)
        ids = figures.newest_runs(UUID(value), LISTED + 1, TimeRange.of(request))
        if len(ids) > LISTED:
            messages.info(
                request,
                f"Only the newest {LISTED:,} runs of this failure are listed. Choose a time for older ones; an export "
                "has all.",
            )
        return queryset.filter(pk__in=ids[:LISTED])


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


@detail_cards.register
def detail_card(request: HttpRequest, execution: Execution) -> dict[str, Any]:
    run = FailureRun.objects.filter(execution=execution).select_related("group").first()
    return {"failure": run.group if run else None}


# What this room adds to the history.
ExecutionAdmin.list_filter = (*ExecutionAdmin.list_filter, FailureFilter)  # type: ignore[assignment]
