"""Sessions of everybody. The other tables of django-allauth have no pages."""

from typing import Any

from allauth.account import admin as accounts  # noqa: F401 -- registers what is removed here
from allauth.mfa import admin as factors  # noqa: F401
from allauth.usersessions import admin as usersessions  # noqa: F401
from allauth.usersessions.models import UserSession
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from console.admin.naming import NamedList
from console.sign_on import sessions
from sandbox_platform.kit.readonly import ReadOnlyAdmin

FIELDS = ("person", "method", "address", "logged_in", "last_seen", "browser")
for model in [each for each in admin.site._registry if each._meta.app_label in ("account", "mfa", "usersessions")]:
    admin.site.unregister(model)


@admin.register(UserSession)
class UserSessionAdmin(ReadOnlyAdmin[UserSession]):
    """Who is logged in, from where and how."""

    empty_hint = "Nobody has logged in through the login page since its sessions ended."
    list_display = fields = readonly_fields = FIELDS
    search_fields = ("user__username", "ip")
    list_filter = ("created_at",)
    ordering = ("-created_at",)
    actions = ("end_sessions",)
    nouns = ("session", "sessions")
    search_help_text = "User name or address"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[NamedList]:
        return NamedList

    def get_queryset(self, request: HttpRequest) -> QuerySet[UserSession]:
        return sessions.open_sessions()

    @admin.display(description="User name", ordering="user__username")
    def person(self, row: UserSession) -> Any:
        return row.user.get_username()

    @admin.display(description="Logged in by")
    def method(self, row: UserSession) -> Any:
        return row.data.get("method", "")

    @admin.display(description="IP address", ordering="ip")
    def address(self, row: UserSession) -> Any:
        return row.ip

    @admin.display(description="Logged in at", ordering="created_at")
    def logged_in(self, row: UserSession) -> Any:
        return row.created_at

    @admin.display(description="Last seen", ordering="last_seen_at")
    def last_seen(self, row: UserSession) -> Any:
        return row.last_seen_at

    @admin.display(description="Browser")
    def browser(self, row: UserSession) -> Any:
        return row.user_agent

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("usersessions.delete_usersession")

    @admin.action(description="End the selected sessions", permissions=["end"])
    def end_sessions(self, request: HttpRequest, rows: QuerySet[UserSession]) -> None:
        number = sessions.end(request, rows)
        self.message_user(request, f"{number} {'session' if number == 1 else 'sessions'} ended.", messages.SUCCESS)
