import csv
import json
from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from audit.models import TrailEntry
from audit.models.changes import BASELINE, DELETE, EVENTS, INSERT, UPDATE
from executions.admin.readonly import ReadOnlyAdmin

LABELS = {INSERT: "created", UPDATE: "changed", DELETE: "deleted", BASELINE: "there when recording began"}
CSV_COLUMNS = (
    "time", "object", "object_id", "change", "column", "before", "after",
    "who", "where", "url", "database_role", "application",
)  # fmt: skip
# A spreadsheet takes a cell that begins so for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class ObjectFilter(admin.SimpleListFilter):
    title = "object"
    parameter_name = "object"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        tracked = [event.pgh_tracked_model._meta for event in EVENTS]
        return [(meta.label, str(meta.verbose_name)) for meta in tracked]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(pgh_obj_model=self.value()) if self.value() else queryset


class ChangeFilter(admin.SimpleListFilter):
    title = "change"
    parameter_name = "change"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(LABELS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(pgh_label=self.value()) if self.value() else queryset


class OriginFilter(admin.SimpleListFilter):
    title = "made through"
    parameter_name = "origin"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("web", "the web (admin or API)"), ("other", "a shell, a command or SQL")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(url__isnull=self.value() == "other") if self.value() else queryset


class WhenFilter(admin.DateFieldListFilter):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "time"


@admin.register(TrailEntry)
class TrailAdmin(ReadOnlyAdmin[TrailEntry]):
    list_display = ("when", "what", "change", "columns", "who", "where")
    list_filter = (ObjectFilter, ChangeFilter, OriginFilter, ("pgh_created_at", WhenFilter))
    search_fields = ("actor", "address", "pgh_obj_id", "pgh_data", "pgh_context")
    search_help_text = "A user, a client, an address, or any text of the changed row."
    actions = ("export_csv",)
    list_per_page = 50
    fieldsets = (
        ("What", {"fields": ("when", "what", "pgh_obj_id", "change", "difference")}),
        ("Who and from where", {"fields": ("who", "where", "url", "database_session")}),
    )
    readonly_fields = (
        "when",
        "what",
        "pgh_obj_id",
        "change",
        "difference",
        "who",
        "where",
        "url",
        "database_session",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[TrailEntry]:
        # The default manager finds nothing, for the sake of Django's own commands.
        return TrailEntry.objects.order_by("-pgh_created_at", "-pgh_slug")

    @admin.display(description="When", ordering="pgh_created_at")
    def when(self, entry: TrailEntry) -> str:
        return f"{localtime(entry.pgh_created_at):%Y-%m-%d %H:%M:%S}"

    @admin.display(description="What", ordering="pgh_obj_model")
    def what(self, entry: TrailEntry) -> str:
        return entry.what

    @admin.display(description="Change", ordering="pgh_label")
    def change(self, entry: TrailEntry) -> str:
        return LABELS.get(entry.pgh_label, entry.pgh_label)

    @admin.display(description="Columns")
    def columns(self, entry: TrailEntry) -> str:
        return ", ".join(entry.changes) if entry.pgh_label == UPDATE else ""

    @admin.display(description="Who", ordering="actor")
    def who(self, entry: TrailEntry) -> str:
        return entry.who

    @admin.display(description="From where", ordering="address")
    def where(self, entry: TrailEntry) -> str:
        return entry.where

    @admin.display(description="Before and after")
    def difference(self, entry: TrailEntry) -> SafeString:
        rows = ((name, _text(old), _text(new)) for name, (old, new) in entry.changes.items())
        body = format_html_join(
            "", '<tr><th scope="row">{}</th><td><pre>{}</pre></td><td><pre>{}</pre></td></tr>', rows
        )
        head = format_html("<tr><th></th><th>{}</th><th>{}</th></tr>", "Before", "After")
        return format_html('<table class="facts"><thead>{}</thead>{}</table>', head, body)

    @admin.display(description="The database's session")
    def database_session(self, entry: TrailEntry) -> SafeString:
        body = format_html_join("", '<tr><th scope="row">{}</th><td>{}</td></tr>', entry.session.items())
        return format_html('<table class="facts">{}</table>', body)

    @admin.action(description="Export as CSV, one line a changed column")
    def export_csv(self, request: HttpRequest, entries: QuerySet[TrailEntry]) -> StreamingHttpResponse:
        response = StreamingHttpResponse(csv_lines(entries.iterator(chunk_size=500)), content_type="text/csv")
        response["Content-Disposition"] = 'attachment; filename="audit-trail.csv"'
        return response


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


class _Echo:
    def write(self, line: str) -> str:
        return line


def csv_lines(entries: Iterator[TrailEntry]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(CSV_COLUMNS)
    for entry in entries:
        session = entry.session
        for column, (old, new) in entry.changes.items():
            cells = (
                entry.pgh_created_at.isoformat(), entry.what, entry.pgh_obj_id, entry.pgh_label,
                column, _cell(old), _cell(new),
                entry.who, entry.where, entry.url, session.get("role"), session.get("application"),
            )  # fmt: skip
            yield writer.writerow([_harmless(cell) for cell in cells])


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _harmless(cell: Any) -> str:
    text = "" if cell is None else str(cell)
    return f"'{text}" if text.startswith(FORMULA) else text
