from typing import Any
from urllib.parse import urlsplit

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from clients.admin import ClientAdmin
from clients.models import Client
from executions.callbacks import deliveries, signing
from executions.callbacks.models import Delivery, DeliveryAttempt
from executions.models.execution import LARGE
from sandbox_platform.kit import disclosures
from sandbox_platform.kit.addresses import without_values
from sandbox_platform.kit.generics import TabularInline
from sandbox_platform.kit.html import badge
from sandbox_platform.kit.readonly import ReadOnlyAdmin
from sandbox_platform.kit.units import format_ms


class AttemptInline(TabularInline[DeliveryAttempt, Delivery]):
    model = DeliveryAttempt
    hide_title = True  # the title would repeat the columns
    fields = readonly_fields = ("at", "status_code", "duration", "error")
    can_delete = False
    extra = 0

    @admin.display(description="Duration")
    def duration(self, attempt: DeliveryAttempt) -> str:
        return format_ms(attempt.duration_ms)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin[Delivery]):
    empty_hint = "A delivery is created when an execution with a callback URL ends."
    actions = ("send_again",)
    list_display = (
        "receiver",
        "short_execution_link",
        "client",
        "status_badge",
        "attempts_made",
        "answer",
        "next_try",
        "finished",
    )
    list_filter = ("status", "execution__client")
    list_select_related = ("execution__client",)
    show_full_result_count = False
    search_fields = ("=execution__id",)
    search_help_text = "Execution id"
    inlines = (AttemptInline,)
    change_form_outer_before_template = "console/act_on_one.html"
    fields = (
        "execution_link",
        "url",
        "client",
        "status_badge",
        "attempts_made",
        "answer",
        "created_at",
        "next_try",
        "finished",
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        return super().get_queryset(request).defer(*(f"execution__{name}" for name in LARGE))

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        act = {"action": "send_again", "label": "Send again now", "may": self.has_send_permission(request)}
        return super().changeform_view(request, object_id, form_url, {"act": act} | (extra_context or {}))

    @admin.display(description="Status", ordering="status")
    def status_badge(self, delivery: Delivery) -> SafeString:
        return badge(delivery.status, delivery.get_status_display())

    @admin.display(description="Execution")
    def execution_link(self, delivery: Delivery) -> SafeString:
        url = reverse("admin:executions_execution_change", args=[delivery.execution_id])
        return format_html('<a href="{}"><code class="id">{}</code></a>', url, delivery.execution_id)

    @admin.display(description="Execution")
    def short_execution_link(self, delivery: Delivery) -> SafeString:
        url = reverse("admin:executions_execution_change", args=[delivery.execution_id])
        return format_html('<a href="{}"><code class="id">{}</code></a>', url, str(delivery.execution_id)[-12:])

    @admin.display(description="Receiver")
    def receiver(self, delivery: Delivery) -> str:
        """Return scheme and host only: the rest of the URL may contain secrets of the client."""
        address = urlsplit(delivery.execution.callback_url)
        return f"{address.scheme}://{address.netloc.rpartition('@')[2]}"[:80]

    @admin.display(description="Attempts", ordering="attempt_count")
    def attempts_made(self, delivery: Delivery) -> str:
        return f"{delivery.attempt_count} of {deliveries.MAX_ATTEMPTS}"

    @admin.display(description="Last response", empty_value="")
    def answer(self, delivery: Delivery) -> str | None:
        return " ".join(str(part) for part in (delivery.last_status_code, delivery.last_error) if part) or None

    @admin.display(description="Next attempt", ordering="next_attempt_at", empty_value="")
    def next_try(self, delivery: Delivery) -> str | None:
        at = delivery.next_attempt_at
        if at is None:
            return None
        left = (at - timezone.now()).total_seconds()
        when = f"in {format_ms(round(left) * 1000)}" if left >= 1 else "now"
        return f"{localtime(at):%Y-%m-%d %H:%M:%S}, {when}"

    @admin.display(description="Ended at", ordering="finished_at", empty_value="")
    def finished(self, delivery: Delivery) -> str | None:
        at = delivery.finished_at
        return f"{localtime(at):%Y-%m-%d %H:%M:%S}" if at else None

    @admin.display(description="URL")
    def url(self, delivery: Delivery) -> str:
        return without_values(delivery.execution.callback_url)

    @admin.display(description="Client", empty_value="")
    def client(self, delivery: Delivery) -> str | None:
        return str(delivery.execution.client) if delivery.execution.client else None

    def has_send_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("callbacks.change_delivery")

    @admin.action(description="Send again, with a new set of attempts", permissions=["send"])
    def send_again(self, request: HttpRequest, chosen: QuerySet[Delivery]) -> None:
        for delivery in chosen:
            deliveries.send_again(delivery)
            self.log_change(request, delivery, "Sent again.")
        number = len(chosen)
        self.message_user(
            request, f"{number} deliver{'y' if number == 1 else 'ies'} queued to be sent again.", messages.SUCCESS
        )


def show_callback_secret(model_admin: ClientAdmin, request: HttpRequest, clients: QuerySet[Client]) -> None:
    for client in clients:
        model_admin.log_change(request, client, "Displayed the callback secret.")
        _show(model_admin, request, client)


def rotate_callback_secret(model_admin: ClientAdmin, request: HttpRequest, clients: QuerySet[Client]) -> None:
    for client in clients:
        signing.rotate(client)
        model_admin.log_change(request, client, "Changed the callback secret.")
        _show(model_admin, request, client)


def _show(model_admin: ClientAdmin, request: HttpRequest, client: Client) -> None:
    disclosures.shown(f"callback secret of client {client}", client.pk, http=request)
    secret = signing.secret_of(client)
    shown = format_html("Callbacks for {} are signed with <code>{}</code>", client.name, secret)
    model_admin.message_user(request, shown, messages.WARNING)


# Actions that this room adds to the client's page. Forms and the audit trail use the functions' names.
ClientAdmin.actions = (
    *ClientAdmin.actions,
    admin.action(description="Show the secret that signs callbacks", permissions=["change"])(show_callback_secret),
    admin.action(
        description="Change the secret that signs callbacks (both sign for 24 hours)", permissions=["change"]
    )(rotate_callback_secret),
)
