"""The pages of alerts: what fires now, and the history with its messages."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from alerts.firing import firing_of
from alerts.models import Alert, AlertState, Rule
from alerts.watch import unwatched
from sandbox_platform.kit.html import badge, note
from sandbox_platform.kit.ranges import TimeRange, TimeRangeFilter, picker
from sandbox_platform.kit.readonly import ReadOnlyAdmin
from sandbox_platform.kit.units import format_ms

# The badges' classes, by state and severity.
STATES = {AlertState.PENDING: "pending", AlertState.FIRING: "broken", AlertState.RESOLVED: "ok"}
SEVERITIES = {"info": "pending", "warning": "warning", "critical": "broken"}


class SinceFilter(TimeRangeFilter):
    field = "since"


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin[Alert]):
    empty_hint = "Rules are evaluated every minute. What meets one shows here."
    list_display = (
        "rule_name",
        "about",
        "state_badge",
        "severity_badge",
        "detail",
        "begun",
        "duration",
        "silenced",
    )
    list_filter = ("state", "severity", "rule_name", SinceFilter)
    search_fields = ("rule_name", "subject", "detail")
    search_help_text = "Rule, subject or detail"
    # Firing, pending, resolved.
    ordering = ("state", "-id")
    list_per_page = 50
    show_full_result_count = False
    list_before_template = "alerts/list_tools.html"
    linked_lookups = ("state",)
    fields = readonly_fields = (
        "state_badge",
        "severity_badge",
        "rule_link",
        "about",
        "value_shown",
        "detail",
        "figures",
        "begun",
        "fired",
        "ended",
        "duration",
        "silenced",
        "messages_sent",
    )

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        chosen = TimeRange.of(request)
        context = {
            "picker": picker(request, chosen, everything=True),
            "unwatched": unwatched(),
            "firing": firing_of(request).total(),
        }
        return super().changelist_view(request, context | (extra_context or {}))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Alert]:
        return Alert.objects.with_silences().order_by(*self.get_ordering(request))

    @admin.display(description="State", ordering="state")
    def state_badge(self, alert: Alert) -> SafeString:
        return badge(STATES[AlertState(alert.state)], alert.get_state_display())

    @admin.display(description="Severity", ordering="severity")
    def severity_badge(self, alert: Alert) -> SafeString:
        return badge(SEVERITIES[alert.severity], alert.get_severity_display())

    @admin.display(description="Subject", ordering="subject")
    def about(self, alert: Alert) -> str:
        return alert.subject

    @admin.display(description="Value")
    def value_shown(self, alert: Alert) -> str:
        return alert.value_words

    @admin.display(description="Rule")
    def rule_link(self, alert: Alert) -> SafeString | str:
        if not Rule.objects.filter(pk=alert.rule_id or 0).exists():
            return f"{alert.rule_name} (deleted)"
        url = reverse("admin:alerts_rule_change", args=[alert.rule_id])
        return format_html('<a href="{}">{}</a>', url, alert.rule_name)

    @admin.display(description="Figures")
    def figures(self, alert: Alert) -> SafeString:
        return format_html('<a href="{}">Open</a>', alert.link) if alert.link else note("none")

    @admin.display(description="Since", ordering="since")
    def begun(self, alert: Alert) -> str:
        return f"{localtime(alert.since):%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Fired at")
    def fired(self, alert: Alert) -> str:
        return f"{localtime(alert.fired_at):%Y-%m-%d %H:%M:%S}" if alert.fired_at else "not yet"

    @admin.display(description="Resolved")
    def ended(self, alert: Alert) -> str:
        if alert.resolved_at:
            return f"{localtime(alert.resolved_at):%Y-%m-%d %H:%M:%S}, {alert.resolution}"
        if alert.clear_since:
            return f"not yet; not met since {localtime(alert.clear_since):%Y-%m-%d %H:%M:%S}"
        return "not yet"

    @admin.display(description="Duration")
    def duration(self, alert: Alert) -> str:
        return format_ms(max(0, round(alert.lasted.total_seconds())) * 1000)

    @admin.display(description="Silenced", empty_value="")
    def silenced(self, alert: Any) -> str | None:
        if alert.state == AlertState.RESOLVED or alert.silenced_until is None:
            return None
        return f"until {localtime(alert.silenced_until):%Y-%m-%d %H:%M} by {alert.silenced_by}"

    @admin.display(description="Messages")
    def messages_sent(self, alert: Alert) -> SafeString:
        rows = format_html_join(
            "",
            '<tr><td><a href="{}">{}</a></td><td>{}</td><td>{}</td><td>{}</td></tr>',
            (
                (
                    reverse("admin:alerts_notification_change", args=[each.pk]),
                    f"{localtime(each.created_at):%Y-%m-%d %H:%M:%S}",
                    each.channel_name,
                    badge(each.status, each.get_status_display()),
                    each.last_answer,
                )
                for each in alert.notifications.order_by("-id")[:50]
            ),
        )
        if not rows:
            return note("none: no channel takes it, or it is silenced")
        return format_html('<div class="wide" tabindex="0"><table class="facts">{}</table></div>', rows)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        context = {"silence": ""}
        alert = Alert.objects.filter(pk=object_id).first() if object_id and object_id.isdecimal() else None
        if alert and alert.state != AlertState.RESOLVED and request.user.has_perm("alerts.add_silence"):
            query = urlencode({"rule": alert.rule_id, "subject": alert.subject})
            context["silence"] = f"{reverse('admin:alerts_silence_add')}?{query}"
        return super().changeform_view(request, object_id, form_url, context | (extra_context or {}))
