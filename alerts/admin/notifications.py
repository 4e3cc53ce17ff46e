from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from alerts import messages
from alerts.models import Attempt, Notification
from alerts.notifications import MAX_ATTEMPTS
from sandbox_platform.kit import html
from sandbox_platform.kit.generics import TabularInline
from sandbox_platform.kit.html import badge
from sandbox_platform.kit.readonly import ReadOnlyAdmin
from sandbox_platform.kit.units import format_ms


class AttemptInline(TabularInline[Attempt, Notification]):
    model = Attempt
    hide_title = True  # the title would repeat the columns
    fields = readonly_fields = ("at", "result", "duration", "answer")
    can_delete = False
    extra = 0

    @admin.display(description="Result")
    def result(self, attempt: Attempt) -> SafeString:
        return badge("ok", "taken") if attempt.ok else badge("broken", "not taken")

    @admin.display(description="Duration")
    def duration(self, attempt: Attempt) -> str:
        return format_ms(attempt.duration_ms)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin[Notification]):
    empty_hint = "Sent when an alert fires or resolves. Press “Send a test message” on a channel to try it."
    list_display = ("created", "about", "channel_name", "status_badge", "last_answer", "attempts_made")
    list_filter = ("status", "kind", "channel_name")
    list_per_page = 50
    show_full_result_count = False
    inlines = (AttemptInline,)
    fields = readonly_fields = (
        "about",
        "channel_name",
        "status_badge",
        "answer",
        "attempts_made",
        "next_try",
        "created",
        "ended",
        "body",
    )

    @admin.display(description="Created at", ordering="created_at")
    def created(self, row: Notification) -> str:
        return f"{localtime(row.created_at):%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Subject")
    def about(self, row: Notification) -> str:
        return messages.title(row)

    @admin.display(description="Status", ordering="status")
    def status_badge(self, row: Notification) -> SafeString:
        return badge(row.status, row.get_status_display())

    @admin.display(description="Answer")
    def answer(self, row: Notification) -> SafeString | str:
        return row.last_answer or html.note("none yet: the callbacks service sends it")

    @admin.display(description="Attempts")
    def attempts_made(self, row: Notification) -> str:
        return f"{row.attempt_count} of {MAX_ATTEMPTS}"

    @admin.display(description="Next attempt")
    def next_try(self, row: Notification) -> str:
        return f"{localtime(row.next_attempt_at):%Y-%m-%d %H:%M:%S}" if row.next_attempt_at else "none"

    @admin.display(description="Ended at")
    def ended(self, row: Notification) -> str:
        return f"{localtime(row.finished_at):%Y-%m-%d %H:%M:%S}" if row.finished_at else "not yet"

    @admin.display(description="Text")
    def body(self, row: Notification) -> SafeString:
        return html.text(messages.text(row))
