from alerts.models.alerts import Alert, AlertState
from alerts.models.channels import Channel, ChannelKind
from alerts.models.notifications import Attempt, Notification, NotificationKind, NotificationStatus
from alerts.models.rules import Rule, RuleState, Severity, ShippedKey
from alerts.models.silences import Silence

__all__ = [
    "Alert",
    "AlertState",
    "Attempt",
    "Channel",
    "ChannelKind",
    "Notification",
    "NotificationKind",
    "NotificationStatus",
    "Rule",
    "RuleState",
    "Severity",
    "ShippedKey",
    "Silence",
]
