"""The text of messages: for mail, for webhooks and for Slack-compatible ones. docs/alerts.md describes them.

A message has names, counts, ids and links to the console. Whatever the receiver shows is text: nothing in it is markup.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.conf import settings

from alerts.models import Alert, Notification, NotificationKind
from sandbox_platform.kit.units import format_ms

FIRING, REMINDER, RESOLVED, TEST = "firing", "reminder", "resolved", "test"
# Lines of one message. The console has the others.
MOST_LINES = 20
LONGEST_SUBJECT_LINE = 150
TYPES = {NotificationKind.ALERTS: "alerts.changed", NotificationKind.TEST: "alerts.test"}


@dataclass(frozen=True)
class Line:
    """What is told about one alert. Times are in ISO format, `path` is the alert's page in the console."""

    id: int
    event: str
    rule: str
    condition: str
    severity: str
    subject: str
    value: float
    value_text: str
    detail: str
    since: str
    resolved_at: str | None
    path: str

    @classmethod
    def of(cls, alert: Alert, event: str) -> "Line":
        return cls(
            id=alert.pk,
            event=event,
            rule=alert.rule_name,
            condition=alert.condition,
            severity=alert.severity,
            subject=alert.subject,
            value=alert.value,
            value_text=alert.value_words,
            detail=alert.detail,
            since=alert.since.isoformat(),
            resolved_at=alert.resolved_at.isoformat() if alert.resolved_at else None,
            path=alert.path,
        )

    @property
    def words(self) -> str:
        """Return the line as people read it."""
        begin = datetime.fromisoformat(self.since)
        text = f"[{self.event}, {self.severity}] {self.rule}: {self.subject}"
        detail = f" {self.detail}" if self.detail else ""
        if self.resolved_at:
            lasted = datetime.fromisoformat(self.resolved_at) - begin
            return f"{text}. Lasted {format_ms(round(lasted.total_seconds()) * 1000)}.{detail}"
        return f"{text}.{detail} Since {begin:%Y-%m-%d %H:%M:%S} UTC."


def link(path: str) -> str:
    """Return the full address in the console, "" if SANDBOX_CONSOLE_URL is not set."""
    return f"{settings.SANDBOX_CONSOLE_URL}{path}" if settings.SANDBOX_CONSOLE_URL else ""


def lines_of(notification: Notification) -> list[Line]:
    return [Line(**line) for line in notification.lines]


def title(notification: Notification) -> str:
    """Return a subject of one line."""
    if notification.kind == NotificationKind.TEST:
        return "[test] Sandbox Platform: test of a channel"
    lines = lines_of(notification)
    told = sum(line.event != RESOLVED for line in lines)
    parts = [f"{told} firing"] if told else []
    if gone := len(lines) - told:
        parts.append(f"{gone} resolved")
    names = "; ".join(dict.fromkeys(f"{line.rule} ({line.subject})" for line in lines))
    return f"[{', '.join(parts)}] {names}"[:LONGEST_SUBJECT_LINE]


def text(notification: Notification) -> str:
    if notification.kind == NotificationKind.TEST:
        return (
            f"This is a test of the channel {notification.channel_name}, requested by {notification.requested_by} on "
            f"{settings.SANDBOX_NODE}. Nothing is wrong. Alerts of Sandbox Platform arrive here."
        )
    lines = lines_of(notification)
    shown = []
    for line in lines[:MOST_LINES]:
        address = link(line.path)
        shown.append(f"{line.words} {address}".rstrip())
    if len(lines) > MOST_LINES:
        shown.append(f"… and {len(lines) - MOST_LINES} more.")
    everything = link("/admin/alerts/alert/")
    return "\n".join([*shown, *([f"All alerts: {everything}"] if everything else [])])


def as_json(notification: Notification) -> bytes:
    """Return the body of a webhook."""
    lines = lines_of(notification)
    data: dict[str, Any] = {
        "notification": notification.pk,
        "channel": notification.channel_name,
        "console": settings.SANDBOX_CONSOLE_URL or None,
        "text": text(notification),
        "alerts": [_alert(line) for line in lines[:MOST_LINES]],
        "omitted": max(0, len(lines) - MOST_LINES),
    }
    kind = TYPES[NotificationKind(notification.kind)]
    return json.dumps({"type": kind, "timestamp": notification.created_at.isoformat(), "data": data}).encode()


def _alert(line: Line) -> dict[str, Any]:
    values = asdict(line)
    path = values.pop("path")
    return values | {"url": link(path) or None}


def as_slack(notification: Notification) -> bytes:
    """Return the body of a Slack-compatible webhook: one text, in which three characters are markup."""
    said = text(notification)
    if notification.kind != NotificationKind.TEST:
        said = f"{title(notification)}\n{said}"
    for character, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        said = said.replace(character, written)
    return json.dumps({"text": said}).encode()


def message_id(notification: Notification) -> str:
    """Return the message id. It is the same for every attempt, so that receivers can drop duplicates."""
    return f"alert_{notification.pk}"
