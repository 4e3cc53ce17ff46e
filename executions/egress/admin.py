"""Admin of the allow-list, and the card with egress requests on an execution's page."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from executions.egress.models import EgressRequest, EgressRule
from executions.models import Execution
from executions.sources import detail_cards
from runtimes.models import Network
from sandbox_platform.kit.generics import ModelAdmin
from sandbox_platform.kit.html import badge
from sandbox_platform.kit.units import format_bytes, format_ms

# Rows on the card; the API returns all.
SHOWN = 200


@admin.register(EgressRule)
class EgressRuleAdmin(ModelAdmin[EgressRule]):
    empty_hint = "No program can reach any host until a rule exists."
    list_display = ("domain", "runtime_name", "client_name", "enabled", "note", "created_at")
    list_select_related = ("runtime", "client")
    list_filter = ("enabled", "runtime", "client")
    search_fields = ("domain", "note")
    readonly_fields = ("created_at",)
    fieldsets = (
        (
            None,
            {
                "description": "Allows programs to reach one host, or a domain and all its subdomains, over HTTP "
                "and HTTPS. Hosts without a rule are refused. The runtime and the client must both have egress. "
                "Changes apply from the next request on.",
                "fields": ("domain", "enabled"),
            },
        ),
        ("Scope", {"fields": ("runtime", "client")}),
        ("Record", {"fields": ("note", "created_at")}),
    )

    @admin.display(description="Runtime", ordering="runtime__slug")
    def runtime_name(self, rule: EgressRule) -> str:
        return str(rule.runtime or "all with egress")

    @admin.display(description="Client", ordering="client__name")
    def client_name(self, rule: EgressRule) -> str:
        return str(rule.client or "all with egress")


def card(execution: Execution) -> dict[str, Any] | None:
    """Return the context of the card, or None for an execution without egress."""
    if execution.network == Network.NONE:
        return None
    requests = execution.egress_requests.all()
    return {
        "rows": _table(list(requests[:SHOWN])),
        "count": requests.count(),
        "refused": requests.filter(allowed=False).count(),
        "shown": SHOWN,
        "rules": ", ".join(str(rule.get("domain")) for rule in execution.egress_rules),
    }


def _table(requests: list[EgressRequest]) -> SafeString:
    return format_html_join("", "<tr>{}</tr>", ((_cells(request),) for request in requests))


def _cells(request: EgressRequest) -> SafeString:
    duration = request.duration_ms
    return format_html(
        '<td class="number">{}</td><td>{}</td><td><code>{} {}:{}</code></td><td class="number">{}</td>'
        '<td class="number">{}</td><td class="number">{}</td><td class="number">{}</td>',
        f"{request.at:%H:%M:%S.%f}"[:-3],
        _decision(request) if request.allowed else _refusal(request),
        request.method,
        request.host,
        request.port,
        "" if request.status is None else request.status,
        "" if request.bytes_sent is None else format_bytes(request.bytes_sent),
        "" if request.bytes_received is None else format_bytes(request.bytes_received),
        "" if duration is None else format_ms(duration),
    )


def _decision(request: EgressRequest) -> SafeString:
    allowed = badge("ok", "Allowed")
    return format_html("{}<div class='note'>cut: byte limit reached</div>", allowed) if request.cut else allowed


def _refusal(request: EgressRequest) -> SafeString:
    return format_html("{}<div class='note'>{}</div>", badge("rejected", "Refused"), request.get_reason_display())


@detail_cards.register
def detail_card(request: HttpRequest, execution: Execution) -> dict[str, Any]:
    return {"egress": card(execution)}
