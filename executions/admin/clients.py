from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from executions.callbacks import signing
from executions.models import Client
from sandbox_platform.generics import ModelAdmin, ModelForm


@admin.register(Client)
class ClientAdmin(ModelAdmin[Client]):
    list_display = ("name", "enabled", "created_at")
    list_filter = ("enabled",)
    search_fields = ("name",)
    readonly_fields = ("created_at",)
    actions = ("issue_new_token", "show_callback_secret", "rotate_callback_secret")
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
        token = None if change else obj.set_token()
        super().save_model(request, obj, form, change)
        if token:
            self._show_once(request, obj, token)

    @admin.action(description="Issue a new token (the old one stops working at once)", permissions=["change"])
    def issue_new_token(self, request: HttpRequest, clients: QuerySet[Client]) -> None:
        for client in clients:
            token = client.set_token()
            client.save(update_fields=["token_sha256"])
            self.log_change(request, client, "Issued a new token.")
            self._show_once(request, client, token)

    @admin.action(description="Show the secret that signs callbacks", permissions=["change"])
    def show_callback_secret(self, request: HttpRequest, clients: QuerySet[Client]) -> None:
        for client in clients:
            self.log_change(request, client, "Looked at the callback secret.")
            self._show_secret(request, client)

    @admin.action(
        description="Change the secret that signs callbacks (for a day both sign)", permissions=["change"]
    )
    def rotate_callback_secret(self, request: HttpRequest, clients: QuerySet[Client]) -> None:
        for client in clients:
            signing.rotate(client)
            self.log_change(request, client, "Changed the callback secret.")
            self._show_secret(request, client)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # History names its client for ever; one that must not call any more is switched off.
        return obj is not None and not obj.executions.exists() and super().has_delete_permission(request, obj)

    def _show_once(self, request: HttpRequest, client: Client, token: str) -> None:
        shown = format_html("Token of {}, shown only now: <code>{}</code>", client.name, token)
        self.message_user(request, shown, messages.WARNING)

    def _show_secret(self, request: HttpRequest, client: Client) -> None:
        secret = signing.secret_of(client)
        shown = format_html("Callbacks for {} are signed with <code>{}</code>", client.name, secret)
        self.message_user(request, shown, messages.WARNING)
