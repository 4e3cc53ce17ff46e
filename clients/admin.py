from typing import Any

from django.contrib import admin, messages
from django.db.models import Max, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from clients import sources
from clients.admission import usage_of
from clients.forms import OVERLAPS, ClientForm, TokenForm
from clients.models import Client, Token
from sandbox_platform.kit import disclosures, html
from sandbox_platform.kit.generics import ModelAdmin, ModelForm, TabularInline
from sandbox_platform.kit.units import format_bytes

DAYS = 14


class TokenInline(TabularInline[Token, Client]):
    model = Token
    form = TokenForm
    fields = ("name", "prefix", "created_at", "expires_at", "last_used_at", "revoked_at")
    readonly_fields = ("prefix", "created_at", "last_used_at", "revoked_at")
    can_delete = False
    show_change_link = True
    verbose_name_plural = "tokens (revoke them in the list of tokens)"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Client)
class ClientAdmin(ModelAdmin[Client]):
    empty_hint = "Create a client for each deployment that calls, with its own token, caps and quotas."
    form = ClientForm
    inlines = (TokenInline,)
    list_display = ("name", "role", "enabled", "today", "open", "last_used")
    list_filter = ("enabled", "role")
    search_fields = ("name",)
    readonly_fields = ("created_at", "usage_now", "last_days", "used")
    actions: tuple[Any, ...] = ("issue_new_token",)
    change_form_outer_before_template = "console/act_on_one.html"
    fieldsets = (
        (
            None,
            {
                "description": "Saving a new client generates a token and shows it once. "
                "Only its hash is stored. Replace a lost token with the action in the list of clients.",
                "fields": (
                    "name",
                    "enabled",
                    "role",
                    "allowed_runtimes",
                    "formats",
                    "network",
                    "seccomp_profile",
                    "created_at",
                ),
            },
        ),
        (
            "Quotas",
            {
                "description": "Counted for each client across all processes and nodes, not for each address.",
                "fields": (
                    "max_runs_per_minute",
                    "max_runs_per_day",
                    "max_open_executions",
                    "max_stored_bytes",
                    "usage_now",
                    "last_days",
                    "used",
                ),
            },
        ),
        (
            "Caps of each run",
            {
                "description": "The lower of the cap and the runtime's limit applies.",
                "fields": (
                    "max_wall_time_ms",
                    "max_cpu_time_ms",
                    "max_memory_bytes",
                    "max_output_bytes",
                    "max_result_bytes",
                    "max_artifact_count",
                    "max_artifact_bytes",
                ),
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Client]:
        return (
            super()
            .get_queryset(request)
            .annotate(open=sources.open_executions_of_outer(), last_used=Max("tokens__last_used_at"))
        )

    @admin.display(description="Daily quota used")
    def today(self, client: Client) -> str:
        if not client.max_runs_per_day:
            return "unlimited"
        return f"{usage_of(client).day_used} of {client.max_runs_per_day}"

    @admin.display(description="Open now", ordering="open")
    def open(self, client: Any) -> str:
        return f"{client.open} of {client.max_open_executions}" if client.max_open_executions else str(client.open)

    @admin.display(description="Last call (UTC)", ordering="last_used", empty_value="never")
    def last_used(self, client: Any) -> Any:
        return client.last_used

    @admin.display(description="Usage")
    def usage_now(self, client: Client) -> str:
        if client._state.adding:
            return "none yet"
        usage, limit = usage_of(client), client.stored_limit
        parts = [f"{usage.open_executions} queued or running"]
        if client.max_runs_per_minute:
            parts.append(f"{usage.minute_used} in the last minute")
        if client.max_runs_per_day:
            parts.append(f"{usage.day_used} today")
        parts.append(f"{format_bytes(usage.stored_bytes)} {f'of {format_bytes(limit)} ' if limit else ''}stored")
        return ", ".join(parts)

    @admin.display(description="Last 14 days")
    def last_days(self, client: Client) -> SafeString:
        if client._state.adding:
            return html.note("none yet")
        days = sources.runs_by_day(client.pk, timezone.now(), DAYS)
        most = client.max_runs_per_day or max(days.values())
        return html.days(days, most, against_quota=bool(client.max_runs_per_day))

    @admin.display(description="Used in the last 7 days")
    def used(self, client: Client) -> Any:
        return html.note("none yet") if client._state.adding else sources.usage_card(client)

    def save_model(self, request: HttpRequest, obj: Client, form: ModelForm[Client], change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            self._show_once(request, obj, Token.objects.issue(obj)[1])

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        act = {"action": "issue_new_token", "label": "New token …", "may": self.has_change_permission(request)}
        return super().changeform_view(request, object_id, form_url, {"act": act} | (extra_context or {}))

    @admin.action(description="Issue a new token …", permissions=["change"])
    def issue_new_token(self, request: HttpRequest, clients: QuerySet[Client]) -> HttpResponse | None:
        """Ask what becomes of the old tokens, then issue. Nothing is preselected: a wrong choice stops callers."""
        chosen = request.POST.get("overlap")
        if chosen not in OVERLAPS:
            problem = "" if chosen is None else "Choose what becomes of the old tokens."
            return self._ask_overlap(request, clients, problem)
        label, overlap = OVERLAPS[chosen]
        for client in clients:
            if overlap is None:
                _, token = Token.objects.issue(client)
            else:
                _, token = Token.objects.rotate(client, overlap=overlap)
            self.log_change(request, client, f"Issued a new token; the old tokens {label}.")
            self._show_once(request, client, token)
        return None

    def _ask_overlap(self, request: HttpRequest, clients: QuerySet[Client], problem: str) -> HttpResponse:
        context = {
            "title": "Issue a new token",
            "opts": self.opts,
            "clients": list(clients),
            "tokens": Token.objects.usable()
            .filter(client__in=[client.pk for client in clients])
            .select_related("client"),
            "overlaps": [(key, label) for key, (label, _) in OVERLAPS.items()],
            "problem": problem,
        }
        site = self.admin_site.each_context(request)
        return TemplateResponse(request, "clients/issue_token.html", site | context)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Executions keep their client for ever. To stop a client from calling, disable it.
        return obj is not None and not obj.executions.exists() and super().has_delete_permission(request, obj)

    def _show_once(self, request: HttpRequest, client: Client, token: str) -> None:
        disclosures.shown(f"new token of client {client}", client.pk, http=request)
        message = format_html(
            'Token of {}, shown only now: <code id="token-{}">{}</code> '
            '<button type="button" class="button small" data-copy="token-{}">Copy</button>',
            *(client.name, client.pk, token, client.pk),
        )
        self.message_user(request, message, messages.WARNING)


@admin.register(Token)
class TokenAdmin(ModelAdmin[Token]):
    empty_hint = (
        "Saving a new client issues its first token. An action in the list of clients issues further ones."
    )
    form = TokenForm
    list_display = ("__str__", "client", "created_at", "expires_at", "last_used_at", "revoked_at", "works")
    list_filter = ("client",)
    list_select_related = ("client",)
    search_fields = ("name", "prefix", "client__name")
    fields = ("client", "name", "prefix", "created_at", "expires_at", "last_used_at", "revoked_at")
    readonly_fields = ("client", "prefix", "created_at", "last_used_at", "revoked_at")
    actions = ("revoke",)

    @admin.display(description="Valid", boolean=True)
    def works(self, token: Token) -> bool:
        return not token.refusal()

    @admin.action(description="Revoke (immediate and permanent)", permissions=["change"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[Token]) -> None:
        for token in tokens:
            token.revoke()
            self.log_change(request, token, "Revoked.")
        self.message_user(request, f"{len(tokens)} revoked.")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # tokens are issued by the action on clients, which shows them once

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # A token is deleted only together with its client. Otherwise it is revoked, which keeps its record.
        with_client = obj is not None and not obj.client.executions.exists()
        return with_client and super().has_delete_permission(request, obj)
