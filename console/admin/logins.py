from typing import Any

from axes.models import AccessAttempt, AccessLog
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from sandbox_platform.kit import callers
from sandbox_platform.kit.readonly import ReadOnlyAdmin

FIELDS = ("name", "address", "logged_in", "logged_out", "browser")
FAILED_FIELDS = ("name", "address", "failures", "last_attempt", "browser")


class _LoginAdmin(ReadOnlyAdmin[Any]):
    """The columns that both pages share, with labels in the platform's style."""

    list_before_template = "console/addresses_note.html"

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        note = {"addresses_note": callers.proxy_note(request)}
        return super().changelist_view(request, note | (extra_context or {}))

    @admin.display(description="User name", ordering="username")
    def name(self, row: Any) -> Any:
        return row.username

    @admin.display(description="IP address", ordering="ip_address")
    def address(self, row: Any) -> Any:
        return row.ip_address

    @admin.display(description="Browser")
    def browser(self, row: Any) -> Any:
        return row.user_agent


@admin.register(AccessLog)
class AccessLogAdmin(_LoginAdmin):
    """Logins and logouts, with user and address."""

    empty_hint = "No logins yet."
    list_display = fields = readonly_fields = FIELDS
    list_filter = ("attempt_time",)
    search_fields = ("username", "ip_address")
    date_hierarchy = "attempt_time"

    @admin.display(description="Logged in at", ordering="attempt_time")
    def logged_in(self, row: AccessLog) -> Any:
        return row.attempt_time

    @admin.display(description="Logged out at", ordering="logout_time")
    def logged_out(self, row: AccessLog) -> Any:
        return row.logout_time


@admin.register(AccessAttempt)
class AccessAttemptAdmin(_LoginAdmin):
    """Failed logins of user names that have not logged in since."""

    empty_hint = "No failed logins since each user's last successful one."
    list_display = fields = readonly_fields = FAILED_FIELDS
    search_fields = ("username", "ip_address")
    actions = ("forgive",)

    @admin.display(description="Failures", ordering="failures_since_start")
    def failures(self, row: AccessAttempt) -> Any:
        return row.failures_since_start

    @admin.display(description="Last attempt at", ordering="attempt_time")
    def last_attempt(self, row: AccessAttempt) -> Any:
        return row.attempt_time

    def has_forgive_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("axes.delete_accessattempt")

    @admin.action(description="Clear failed attempts and unlock", permissions=["forgive"])
    def forgive(self, request: HttpRequest, attempts: QuerySet[AccessAttempt]) -> None:
        number = attempts.count()
        attempts.delete()
        self.message_user(request, f"{number} cleared.", messages.SUCCESS)
