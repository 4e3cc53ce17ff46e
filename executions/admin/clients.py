from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from executions.models import Client, Token
from sandbox_platform.generics import ModelAdmin, ModelForm


@admin.register(Client)
class ClientAdmin(ModelAdmin[Client]):
    list_display = ("name", "enabled", "created_at")
    list_filter = ("enabled",)
    search_fields = ("name",)
    readonly_fields = ("created_at",)
    actions = ("issue_new_token",)
    fieldsets = (
        (
            None,
            {
                "description": "The token is generated when the client is first saved, and shown once. "
                "Only its hash is kept: a lost token is replaced with the action in the list of clients.",
                "fields": ("name", "enabled", "created_at"),
            },
        ),
    )

    def save_model(self, request: HttpRequest, obj: Client, form: ModelForm[Client], change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            self._show_once(request, obj, Token.objects.issue(obj)[1])

    @admin.action(description="Issue a new token (the old one stops working at once)", permissions=["change"])
    def issue_new_token(self, request: HttpRequest, clients: QuerySet[Client]) -> None:
        for client in clients:
            _, token = Token.objects.rotate(client, overlap=timedelta(0))
            self.log_change(request, client, "Issued a new token.")
            self._show_once(request, client, token)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # History names its client for ever; one that must not call any more is switched off.
        return obj is not None and not obj.executions.exists() and super().has_delete_permission(request, obj)

    def _show_once(self, request: HttpRequest, client: Client, token: str) -> None:
        shown = format_html("Token of {}, shown only now: <code>{}</code>", client.name, token)
        self.message_user(request, shown, messages.WARNING)
