import json
from collections.abc import Iterator
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Max, Min, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.views.decorators.http import require_POST

from audit import keys, receipts, verifications
from audit.models import Leaf, PurgeRecord, Seal, SealKey
from audit.sources import SOURCES
from sandbox_platform.kit import acts, html
from sandbox_platform.kit.acts import Kind
from sandbox_platform.kit.downloads import as_attachment
from sandbox_platform.kit.readonly import ReadOnlyAdmin

# What the summary calls the rows of each sealed table; the trail's tables follow from their models.
TABLES = {source.table: source.noun for source in SOURCES}


@admin.register(Seal)
class SealAdmin(ReadOnlyAdmin[Seal]):
    empty_hint = "The first seal is made within an hour of the first run."
    list_display = ("sequence", "period_from", "period_to", "count", "short_hash")
    search_fields = ("sequence", "hash")
    search_help_text = "Number or hash"
    date_hierarchy = "period_to"
    list_before_template = "audit/seal_tools.html"
    change_form_outer_before_template = "audit/seal_one.html"
    fieldsets = (
        (None, {"fields": ("sequence", "period", "rows", "contents")}),
        ("Proof", {"fields": ("state", "signed_by", "hash", "previous", "root", "created_at", "states")}),
        ("Columns that the hashes cover", {"fields": ("covered",)}),
    )
    readonly_fields = ("period", "rows", "contents", "state", "signed_by", "states", "covered")

    @admin.display(description="Hash", ordering="hash")
    def short_hash(self, seal: Seal) -> SafeString:
        return format_html('<code class="id">{}…</code>', seal.hash[:24])

    @admin.display(description="Period")
    def period(self, seal: Seal) -> str:
        begin = f"{localtime(seal.period_from):%Y-%m-%d %H:%M:%S}" if seal.period_from else "the beginning"
        return f"{begin} to {localtime(seal.period_to):%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Sealed rows")
    def rows(self, seal: Seal) -> str:
        return f"{seal.count:,}"

    @admin.display(description="Rows by kind")
    def contents(self, seal: Seal) -> SafeString:
        leaves = Leaf.objects.filter(seal=seal.pk).values_list("source").annotate(number=Count("pk"))
        numbers = sorted(leaves.order_by(), key=lambda row: -row[1])
        return html.pairs({TABLES.get(table, table): f"{number:,}" for table, number in numbers})

    @admin.display(description="State")
    def state(self, seal: Seal) -> SafeString:
        problem = next(_problems(seal), "")
        if problem:
            return html.badge("broken", problem)
        return html.badge("ok", "hash, signature and link to the seal before match")

    @admin.display(description="Signed by", empty_value="nobody: made before there were keys")
    def signed_by(self, seal: Seal) -> SafeString | None:
        return format_html('<code class="id">{}</code>', seal.key) if seal.key else None

    @admin.display(description="States", empty_value="")
    def states(self, seal: Seal) -> str | None:
        return seal.statement and ", ".join(f"{name} up to {head}" for name, head in seal.statement.items())

    @admin.display(description="Columns")
    def covered(self, seal: Seal) -> SafeString:
        number = sum(len(names) for parts in seal.columns.values() for names in parts.values())
        return format_html(
            "<details><summary>{} columns of {} tables</summary>{}</details>",
            number,
            len(seal.columns),
            html.text(json.dumps(seal.columns, indent=2)),
        )

    # --- Verification ---

    def get_urls(self) -> list[URLPattern]:
        views = (
            path("verify/", self.admin_site.admin_view(require_POST(self.verify)), name="audit_seal_verify"),
            path("<int:sequence>/seal.json", self.admin_site.admin_view(self.as_json), name="audit_seal_json"),
        )
        return [*views, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        query = request.GET.urlencode()
        span = self._span(request)
        tools = {
            "verify_address": f"{reverse('admin:audit_seal_verify')}?{query}",
            "verifiable": span and ("seals {} to {}".format(*span) if span[0] != span[1] else f"seal {span[0]}"),
        }
        return super().changelist_view(request, tools | (extra_context or {}))

    def _span(self, request: HttpRequest) -> tuple[int, int] | None:
        """Return the first and the last number of the seals that the list's filters leave."""
        try:
            seals = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return None
        span = seals.order_by().aggregate(first=Min("sequence"), last=Max("sequence"))
        return (span["first"], span["last"]) if span["last"] else None

    def verify(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        span = _one(request) or self._span(request)
        if span is None:
            self.message_user(request, "There is no seal to verify.", messages.WARNING)
            return redirect("admin:audit_seal_changelist")
        try:
            row = verifications.start(*span, by=request.user.get_username(), http=request)
        except verifications.Refused as e:
            self.message_user(request, str(e), messages.ERROR)
            return redirect("admin:audit_verification_changelist")
        return redirect("admin:audit_verification_change", row.pk)

    def as_json(self, request: HttpRequest, sequence: int) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        seal = get_object_or_404(Seal, pk=sequence)
        content = json.dumps(receipts.seal_of(seal), indent=2).encode()
        acts.done(Kind.DOWNLOADED, str(seal), seal.pk, http=request, after={"bytes": len(content)})
        return as_attachment(f"seal-{sequence}.json", content, "application/json")


def _one(request: HttpRequest) -> tuple[int, int] | None:
    """Return the range of the seal that the URL names, if it names one."""
    number = request.GET.get("sequence", "")
    if not (number.isascii() and number.isdigit() and len(number) < 18):
        return None
    return (int(number), int(number)) if Seal.objects.filter(pk=int(number)).exists() else None


def _problems(seal: Seal) -> Iterator[str]:
    """Yield what the seal itself shows, without its rows and without the keys before its own."""
    if seal.computed_hash() != seal.hash:
        yield "changed: the hash does not match"
    key = SealKey.objects.filter(fingerprint=seal.key).first() if seal.key else None
    if seal.key and not (key and keys.is_signed(bytes(key.public_key), seal.signed, bytes(seal.signature or b""))):
        yield "the signature is wrong"
    before = Seal.objects.filter(sequence=seal.sequence - 1).values_list("hash", flat=True).first()
    if seal.previous != (before or ""):
        yield "not chained to the seal before"


@admin.register(PurgeRecord)
class PurgeRecordAdmin(ReadOnlyAdmin[PurgeRecord]):
    empty_hint = "No purges yet: no retention policy requires one, or nothing is old enough."
    list_display = ("id", "created_at", "kind", "count", "policy", "keep_days", "application")
    list_filter = ("kind",)
    search_fields = ("policy",)
    date_hierarchy = "created_at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        match = request.resolver_match
        in_list = match and match.url_name == "audit_purgerecord_changelist"
        records = super().get_queryset(request)
        return records.defer("ids") if in_list else records
