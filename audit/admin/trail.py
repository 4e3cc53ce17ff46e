import json
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import smart_split, unescape_string_literal
from django.utils.timezone import localtime
from unfold.contrib.filters.admin import TextFilter

from audit import export, queries
from audit.admin.paging import PagedList, TrailPaginator
from audit.models import TrailEntry
from audit.models.changes import ACT, LABELS, NOUNS, UPDATE
from audit.signals import trail_read
from executions.admin import comparison
from sandbox_platform.kit import callers
from sandbox_platform.kit.acts import Kind
from sandbox_platform.kit.exports import MEDIA_TYPES
from sandbox_platform.kit.ranges import TimeRange, TimeRangeFilter, picker
from sandbox_platform.kit.readonly import ReadOnlyAdmin
from sandbox_platform.kit.units import exact_of

# Values with more lines than this are shown as a diff instead of side by side.
LINES_BESIDE = 12


class ObjectFilter(admin.SimpleListFilter):
    title = "object"
    parameter_name = "object"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return sorted(NOUNS.items(), key=lambda item: item[1])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(pgh_obj_model=self.value()) if self.value() else queryset


class ChangeFilter(admin.SimpleListFilter):
    title = "change"
    parameter_name = "change"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*LABELS.items(), *((kind.value, kind.value) for kind in Kind)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queries.changed(queryset, value) if (value := self.value()) else queryset


class OriginFilter(admin.SimpleListFilter):
    title = "origin"
    parameter_name = "origin"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("web", "admin or API"), ("other", "shell, command or SQL")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(url__isnull=self.value() == "other") if self.value() else queryset


class WhoFilter(TextFilter):  # type: ignore[misc]
    title = "actor"
    parameter_name = "who"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queries.made_by(queryset, value) if (value := self.value()) else queryset


class PersonFilter(TextFilter):  # type: ignore[misc]
    title = "person whom it is about"
    parameter_name = "person"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queries.about(queryset, value.strip()) if (value := self.value()) else queryset


class WhenFilter(TimeRangeFilter):
    field = "pgh_created_at"


class TrailList(PagedList):
    result_list: list[TrailEntry]

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(export.with_persons(self.result_list))


@admin.register(TrailEntry)
class TrailAdmin(ReadOnlyAdmin[TrailEntry]):
    list_display = ("when", "what", "change", "columns", "who", "where")
    list_filter = (
        WhoFilter,
        PersonFilter,
        ObjectFilter,
        ChangeFilter,
        OriginFilter,
        WhenFilter,
    )
    search_fields = ("pgh_data",)  # see get_search_results()
    search_help_text = "User, client, address or any text"
    actions = ("export_csv",)
    list_per_page = 50
    paginator = TrailPaginator
    show_full_result_count = False
    list_before_template = "audit/list_tools.html"
    fieldsets = (
        ("Change", {"fields": ("when", "what", "object_id", "change", "difference")}),
        ("Actor and origin", {"fields": ("who", "behalf", "where", "request_url", "database_session")}),
    )
    readonly_fields = (
        "when",
        "what",
        "object_id",
        "change",
        "difference",
        "who",
        "behalf",
        "where",
        "request_url",
        "database_session",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[TrailEntry]:
        entries: QuerySet[TrailEntry] = queries.trail()
        return entries

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        for word in smart_split(search_term):
            quoted = len(word) > 1 and word[0] in "\"'" and word[0] == word[-1]
            queryset = queries.containing(queryset, unescape_string_literal(word) if quoted else word)
        return queryset, False

    @admin.display(description="Time", ordering="pgh_created_at")
    def when(self, entry: TrailEntry) -> str:
        return f"{localtime(entry.pgh_created_at):%Y-%m-%d %H:%M:%S}"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[TrailList]:
        return TrailList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        entry = next(iter(queries.named([object_id])), None)
        return entry and next(export.with_persons([entry]))

    @admin.display(description="Object", ordering="pgh_obj_model")
    def what(self, entry: TrailEntry) -> str:
        person = getattr(entry, "person", "")
        return f"{entry.what} ({person})" if person else entry.what

    @admin.display(description="Object id")
    def object_id(self, entry: TrailEntry) -> str | None:
        return entry.pgh_obj_id

    @admin.display(description="Change", ordering="pgh_label")
    def change(self, entry: TrailEntry) -> str:
        return entry.change

    @admin.display(description="Columns")
    def columns(self, entry: TrailEntry) -> str:
        return ", ".join(entry.changes) if entry.pgh_label == UPDATE or entry.pgh_obj_model == ACT else ""

    @admin.display(description="Actor", ordering="actor")
    def who(self, entry: TrailEntry) -> str:
        return entry.who

    @admin.display(description="On behalf of", empty_value="")
    def behalf(self, entry: TrailEntry) -> str | None:
        return entry.behalf or None

    @admin.display(description="URL")
    def request_url(self, entry: TrailEntry) -> Any:
        return entry.url

    @admin.display(description="Address", ordering="address")
    def where(self, entry: TrailEntry) -> str:
        return entry.where

    @admin.display(description="Before and after")
    def difference(self, entry: TrailEntry) -> SafeString:
        rows = []
        for name, (old, new) in entry.changes.items():
            before, after = _text(name, old), _text(name, new)
            if not before and not after:
                continue  # an empty column of a row that was created or deleted
            lines = max(before.count("\n"), after.count("\n"))
            long = None not in (old, new) and lines > LINES_BESIDE
            rows.append(_line_by_line(name, before, after) if long else _side_by_side(name, before, after))
        head = format_html("<tr><td></td><th>{}</th><th>{}</th></tr>", "Before", "After")
        body = format_html_join("", "{}", ((row,) for row in rows))
        return format_html('<table class="facts compared stacked"><thead>{}</thead>{}</table>', head, body)

    @admin.display(description="Database session")
    def database_session(self, entry: TrailEntry) -> SafeString:
        body = format_html_join("", '<tr><th scope="row">{}</th><td>{}</td></tr>', entry.session.items())
        return format_html('<table class="facts">{}</table>', body)

    @admin.action(description="Export as CSV, one line per changed column")
    def export_csv(self, request: HttpRequest, entries: QuerySet[TrailEntry]) -> StreamingHttpResponse:
        return export.download(entries, "csv", http=request)

    # --- Export of all filtered entries ---

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if self.has_view_permission(request):
            trail_read.send(sender=TrailEntry, request=request)
        query = request.GET.urlencode()
        addresses = {kind: reverse("admin:audit_trailentry_export", args=[kind]) for kind in MEDIA_TYPES}
        exports = [(kind, f"{address}?{query}") for kind, address in addresses.items()]
        tools = {
            "picker": picker(request, TimeRange.of(request), everything=True),
            "exports": exports,
            "addresses_note": callers.proxy_note(request),
        }
        return super().changelist_view(request, tools | (extra_context or {}))

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.export)
        return [path("export.<str:kind>", view, name="audit_trailentry_export"), *super().get_urls()]

    def export(self, request: HttpRequest, kind: str) -> HttpResponse | StreamingHttpResponse:
        if kind not in MEDIA_TYPES:
            raise Http404
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            entries = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return redirect("admin:audit_trailentry_changelist")
        return export.download(entries, kind, http=request)


def _text(name: str, value: Any) -> str:
    """Return the value of the column for people: a quantity with its unit, others as JSON."""
    if value is None:
        return ""
    if type(value) is int:
        return exact_of(name, value)
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _side_by_side(name: str, old: str, new: str) -> SafeString:
    cells = [text and format_html('<pre class="text" tabindex="0">{}</pre>', text) for text in (old, new)]
    row = '<tr><th scope="row">{}</th><td data-label="Before">{}</td><td data-label="After">{}</td></tr>'
    return format_html(row, name, *cells)


def _line_by_line(name: str, old: str, new: str) -> SafeString:
    diff = comparison.diff(name, name, old, new)
    lines = format_html_join(
        "",
        '<div class="diff-{}"><span class="diff-sign">{}</span>{}</div>',
        ((line.kind, line.sign, line.text) for line in diff.lines),
    )
    return format_html(
        '<tr><th scope="row">{}</th><td colspan="2">{}'
        '<div class="diff" tabindex="0" role="region" aria-label="{}">{}</div></td></tr>',
        name, diff.note and format_html('<p class="note">{}</p>', diff.note), f"Change of {name}", lines,
    )  # fmt: skip
