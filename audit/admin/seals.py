import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from audit.models import PurgeRecord, Seal
from sandbox_platform.kit.html import text
from sandbox_platform.kit.readonly import ReadOnlyAdmin


@admin.register(Seal)
class SealAdmin(ReadOnlyAdmin[Seal]):
    empty_hint = "The first seal is made within an hour of the first run."
    list_display = ("sequence", "period_from", "period_to", "count", "short_hash")
    search_fields = ("sequence", "hash")
    search_help_text = (
        "Search by number or hash. To verify the history against the seals, run manage.py verify_audit."
    )
    fields = (
        "sequence",
        "period_from",
        "period_to",
        "count",
        "root",
        "previous",
        "hash",
        "created_at",
        "key",
        "statement",
        "covered",
    )
    readonly_fields = ("covered",)

    @admin.display(description="Hash", ordering="hash")
    def short_hash(self, seal: Seal) -> SafeString:
        return format_html('<code class="id">{}…</code>', seal.hash[:24])

    @admin.display(description="Columns")
    def covered(self, seal: Seal) -> SafeString:
        return text(json.dumps(seal.columns, indent=2))


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
