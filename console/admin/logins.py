from collections.abc import Iterator
from typing import Any

from axes.models import AccessAttempt, AccessLog
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse

from console.admin.naming import NamedList
from people.models import First, Second
from sandbox_platform.kit import acts, callers
from sandbox_platform.kit.acts import Kind
from sandbox_platform.kit.exports import MEDIA_TYPES, as_download, csv_lines, json_lines
from sandbox_platform.kit.readonly import ReadOnlyAdmin

FIELDS = ("name", "login_method", "address", "logged_in", "logged_out", "browser")
FAILED_FIELDS = ("name", "address", "failures", "last_attempt", "browser")
EXPORTED = (
    "logged_in_at", "logged_out_at", "user_name", "method", "first_factor", "second_factor", "issuer", "address",
    "browser",
)  # fmt: skip
# Rows of an export that are read at a time.
CHUNK = 500
NOT_RECORDED = "not recorded"


class _LoginAdmin(ReadOnlyAdmin[Any]):
    """The columns that both pages share, with labels in the platform's style."""

    list_before_template = "console/addresses_note.html"
    search_help_text = "User name or address"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[NamedList]:
        return NamedList

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


class MethodFilter(admin.SimpleListFilter):
    title = "method"
    parameter_name = "method"
    matching = {
        "password": ("Password alone", Q(method__first=First.PASSWORD, method__second="")),
        "totp": ("Authenticator app", Q(method__second=Second.TOTP)),
        "key": ("Security key", Q(method__second=Second.WEBAUTHN)),
        "code": ("Recovery code", Q(method__second=Second.RECOVERY_CODES)),
        "passkey": ("Passkey", Q(method__first=First.PASSKEY)),
        "openid": ("OpenID Connect", Q(method__first=First.OPENID)),
        "recovery": ("Recovery link of the command", Q(method__first=First.RECOVERY)),
        "none": (NOT_RECORDED.capitalize(), Q(method=None)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, title) for name, (title, _) in self.matching.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.matching.get(self.value() or "")
        return queryset.filter(chosen[1]) if chosen else queryset


@admin.register(AccessLog)
class AccessLogAdmin(_LoginAdmin):
    """Logins and logouts, with user and address."""

    empty_hint = "No logins yet."
    nouns = ("login", "logins")
    list_display = fields = readonly_fields = FIELDS
    list_before_template = "console/logins_tools.html"
    list_filter = (MethodFilter, "attempt_time")
    list_select_related = ("method",)
    search_fields = ("username", "ip_address")
    date_hierarchy = "attempt_time"

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        addresses = {kind: reverse("admin:axes_accesslog_export", args=[kind]) for kind in MEDIA_TYPES}
        exports = [(kind, f"{address}?{request.GET.urlencode()}") for kind, address in addresses.items()]
        return super().changelist_view(request, {"exports": exports} | (extra_context or {}))

    @admin.display(description="Method")
    def login_method(self, row: AccessLog) -> Any:
        return str(getattr(row, "method", NOT_RECORDED))

    @admin.display(description="Logged in at", ordering="attempt_time")
    def logged_in(self, row: AccessLog) -> Any:
        return row.attempt_time

    @admin.display(description="Logged out at", ordering="logout_time")
    def logged_out(self, row: AccessLog) -> Any:
        return row.logout_time

    # --- Export of all filtered logins ---

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.export)
        return [path("export.<str:kind>", view, name="axes_accesslog_export"), *super().get_urls()]

    def export(self, request: HttpRequest, kind: str) -> HttpResponseBase:
        if kind not in MEDIA_TYPES:
            raise Http404
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            logins = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return redirect("admin:axes_accesslog_changelist")
        acts.done(Kind.EXPORTED, "logins", http=request, after={"format": kind, **acts.query_of(request)})
        rows = _exported(logins.select_related("method"))
        lines = csv_lines(EXPORTED, (row.values() for row in rows)) if kind == "csv" else json_lines(rows)
        return as_download("logins", kind, lines)


def _exported(logins: QuerySet[AccessLog]) -> Iterator[dict[str, Any]]:
    """Yield the logins, oldest first, in the columns EXPORTED. No connection is held between two chunks."""
    rows, last = logins.order_by("pk"), 0
    while chunk := list(rows.filter(pk__gt=last)[:CHUNK]):
        if not connection.in_atomic_block:
            connection.close()
        for row in chunk:
            method = getattr(row, "method", None)
            values = (
                row.attempt_time, row.logout_time, row.username, str(method or NOT_RECORDED),
                method and method.first, method and method.second, method and method.issuer, row.ip_address,
                row.user_agent,
            )  # fmt: skip
            yield dict(zip(EXPORTED, values, strict=True))
        last = chunk[-1].pk


@admin.register(AccessAttempt)
class AccessAttemptAdmin(_LoginAdmin):
    """Failed logins of user names that have not logged in since."""

    empty_hint = "No failed logins since each user's last successful one."
    nouns = ("user name and address", "user names and addresses")
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
