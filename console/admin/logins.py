from axes.models import AccessAttempt, AccessLog
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from sandbox_platform.kit.readonly import ReadOnlyAdmin

FIELDS = ("username", "ip_address", "attempt_time", "logout_time", "user_agent")
FAILED_FIELDS = ("username", "ip_address", "failures_since_start", "attempt_time", "user_agent")


@admin.register(AccessLog)
class AccessLogAdmin(ReadOnlyAdmin[AccessLog]):
    """Logins and logouts, with user and address."""

    empty_hint = "No logins yet."
    list_display = fields = readonly_fields = FIELDS
    list_filter = ("attempt_time",)
    search_fields = ("username", "ip_address")
    date_hierarchy = "attempt_time"


@admin.register(AccessAttempt)
class AccessAttemptAdmin(ReadOnlyAdmin[AccessAttempt]):
    """Failed logins of user names that have not logged in since."""

    empty_hint = "No failed logins since each user's last successful one."
    list_display = fields = readonly_fields = FAILED_FIELDS
    search_fields = ("username", "ip_address")
    actions = ("forgive",)

    def has_forgive_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("axes.delete_accessattempt")

    @admin.action(description="Clear failed attempts and unlock", permissions=["forgive"])
    def forgive(self, request: HttpRequest, attempts: QuerySet[AccessAttempt]) -> None:
        number = attempts.count()
        attempts.delete()
        self.message_user(request, f"{number} cleared.", messages.SUCCESS)
