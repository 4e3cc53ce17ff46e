from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from executions.admin.readonly import ReadOnlyAdmin
from executions.admin.rendering import badge
from executions.callbacks import deliveries
from executions.models import Delivery, DeliveryAttempt
from sandbox_platform.generics import TabularInline


class AttemptInline(TabularInline[DeliveryAttempt, Delivery]):
    model = DeliveryAttempt
    fields = readonly_fields = ("at", "status_code", "duration_ms", "error")
    can_delete = False
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin[Delivery]):
    actions = ("send_again",)
    list_display = (
        "execution_link",
        "status_badge",
        "attempt_count",
        "last_status_code",
        "last_error",
        "client",
        "next_attempt_at",
        "finished_at",
    )
    list_filter = ("status", "execution__client")
    list_select_related = ("execution__client",)
    show_full_result_count = False
    search_fields = ("=execution__id",)
    search_help_text = "An execution's id."
    inlines = (AttemptInline,)
    fields = (
        "execution_link",
        "url",
        "client",
        "status_badge",
        "attempt_count",
        "last_status_code",
        "last_error",
        "created_at",
        "next_attempt_at",
        "finished_at",
    )
    readonly_fields = fields

    @admin.display(description="Status", ordering="status")
    def status_badge(self, delivery: Delivery) -> SafeString:
        return badge(delivery.status, delivery.get_status_display())

    @admin.display(description="Execution")
    def execution_link(self, delivery: Delivery) -> SafeString:
        url = reverse("admin:executions_execution_change", args=[delivery.execution_id])
        return format_html('<a href="{}"><code class="id">{}</code></a>', url, delivery.execution_id)

    @admin.display(description="URL")
    def url(self, delivery: Delivery) -> str:
        return delivery.execution.callback_url

    @admin.display(description="Client", empty_value="")
    def client(self, delivery: Delivery) -> str | None:
        return str(delivery.execution.client) if delivery.execution.client else None

    def has_send_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("executions.change_delivery")

    @admin.action(description="Send again, with all attempts", permissions=["send"])
    def send_again(self, request: HttpRequest, chosen: QuerySet[Delivery]) -> None:
        for delivery in chosen:
            deliveries.send_again(delivery)
            self.log_change(request, delivery, "Sent again.")
        self.message_user(request, f"{len(chosen)} will be sent again now.", messages.SUCCESS)
