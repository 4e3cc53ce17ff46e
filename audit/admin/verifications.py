import json

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from audit import receipts, verifications
from audit.models import Verification
from sandbox_platform.kit import acts, html
from sandbox_platform.kit.acts import Kind
from sandbox_platform.kit.downloads import as_attachment
from sandbox_platform.kit.readonly import ReadOnlyAdmin

# The badges' classes, by state.
BADGES = {"ok": "ok", "findings": "broken", "failed": "broken", "stopped": "warning"}


@admin.register(Verification)
class VerificationAdmin(ReadOnlyAdmin[Verification]):
    empty_hint = "Press “Verify” in the list of seals."
    list_display = ("range", "badge", "rows", "finding_count", "requested_by", "requested_at", "ended_at")
    list_per_page = 50
    fields = readonly_fields = (
        "range",
        "badge",
        "progress",
        "rows",
        "found",
        "requested_by",
        "requested_at",
        "started_at",
        "ended_at",
    )

    @admin.display(description="Seals", ordering="first")
    def range(self, row: Verification) -> str:
        return str(row.first) if row.first == row.last else f"{row.first} to {row.last}"

    @admin.display(description="State", ordering="state")
    def badge(self, row: Verification) -> SafeString:
        words = row.get_state_display() + (f": {row.error}" if row.error else "")
        return html.badge(BADGES.get(row.state, ""), words)

    @admin.display(description="Progress")
    def progress(self, row: Verification) -> SafeString:
        reached = row.first - 1 if row.reached is None else row.reached
        words = f"{reached - row.first + 1:,} of {row.last - row.first + 1:,} seals"
        return format_html("{} {}", html.bar(0, row.done), words)

    @admin.display(description="Findings")
    def found(self, row: Verification) -> SafeString:
        if not row.finding_count:
            return html.note("none so far" if row.is_open else "none")
        lines = format_html_join("", "<li>{}</li>", ((line,) for line in row.findings))
        rest = row.finding_count - len(row.findings)
        return format_html("<ol>{}</ol>{}", lines, html.note(f"and {rest:,} more") if rest else "")

    # --- What can be done ---

    def get_urls(self) -> list[URLPattern]:
        views = (
            ("<int:pk>/cancel/", require_POST(self.cancel), "cancel"),
            ("<int:pk>/receipt.json", self.receipt, "receipt"),
            ("check_receipt.py", self.command, "command"),
        )
        wrap = self.admin_site.admin_view
        return [*(path(at, wrap(view), name=f"audit_verification_{name}") for at, view, name in views),
                *super().get_urls()]  # fmt: skip

    def _row(self, request: HttpRequest, pk: int) -> Verification:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return get_object_or_404(Verification, pk=pk)

    def cancel(self, request: HttpRequest, pk: int) -> HttpResponse:
        if verifications.cancel(self._row(request, pk)):
            self.message_user(request, "The verification stops after the seal that it compares.", messages.SUCCESS)
        else:
            self.message_user(request, "The verification had already ended.", messages.WARNING)
        return redirect("admin:audit_verification_change", pk)

    def receipt(self, request: HttpRequest, pk: int) -> HttpResponse:
        row = self._row(request, pk)
        if row.is_open:
            self.message_user(request, "The receipt is there once the verification has ended.", messages.WARNING)
            return redirect("admin:audit_verification_change", pk)
        content = json.dumps(receipts.receipt_of(row), indent=1).encode()
        acts.done(Kind.DOWNLOADED, f"receipt of {row}", row.pk, http=request, after={"bytes": len(content)})
        return as_attachment(f"verification-{pk}.json", content, "application/json")

    def command(self, request: HttpRequest) -> HttpResponse:
        return as_attachment(receipts.COMMAND.name, receipts.COMMAND.read_bytes(), "text/x-python")
