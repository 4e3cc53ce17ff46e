"""What an evaluation does to the alerts of a rule: pending, then firing, then resolved.

met            -> pending, or firing at once if the rule does not wait
pending, met   -> firing once the condition has been met for the rule's `pending_ms`
pending, clear -> gone, nobody was told
firing, clear  -> resolved once the condition has not been met for `hold_of`
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from alerts.models import Alert, AlertState, Rule
from sandbox_platform.kit.conditions import Finding

# An alert that comes and goes is held open longer each time, within these bounds.
FLAPS_WITHIN = timedelta(hours=6)
LONGEST_HOLD = timedelta(hours=1)
MOST_DOUBLINGS = 10


def apply(rule: Rule, findings: Iterable[Finding], now: datetime) -> list[Alert]:
    """Bring the alerts of the rule up to date, and return those that are resolved now."""
    known = {alert.subject: alert for alert in Alert.objects.open().filter(rule=rule)}
    for finding in findings:
        alert = known.pop(finding.subject) if finding.subject in known else _new(rule, finding, now)
        _met(alert, rule, finding, now)
    return [alert for alert in known.values() if _clear(alert, rule, now)]


def close(alert: Alert, now: datetime, why: str) -> bool:
    """End an open alert whatever its condition says. Return whether it had fired."""
    if alert.state == AlertState.PENDING:
        alert.delete()
        return False
    alert.state, alert.resolved_at, alert.resolution = AlertState.RESOLVED, now, why
    alert.save(update_fields=["state", "resolved_at", "resolution", "clear_since"])
    return True


def hold_of(alert: Alert, rule: Rule, now: datetime) -> timedelta:
    """Return for how long the condition must not be met before the alert is resolved."""
    episodes = Alert.objects.filter(rule=rule, subject=alert.subject, resolved_at__gt=now - FLAPS_WITHIN).count()
    held = timedelta(milliseconds=rule.recover_ms)
    doubled: timedelta = held * 2 ** min(episodes, MOST_DOUBLINGS)
    return max(held, min(doubled, LONGEST_HOLD))


def _new(rule: Rule, finding: Finding, now: datetime) -> Alert:
    return Alert(rule=rule, condition=rule.condition, subject=finding.subject, since=now)


def _met(alert: Alert, rule: Rule, finding: Finding, now: datetime) -> None:
    alert.rule_name, alert.severity = rule.name, rule.severity
    alert.value, alert.detail, alert.link = finding.value, finding.detail, finding.link
    alert.clear_since = None
    if alert.state == AlertState.PENDING and now - alert.since >= rule.pending:
        alert.state, alert.fired_at = AlertState.FIRING, now
    alert.save()


def _clear(alert: Alert, rule: Rule, now: datetime) -> bool:
    if alert.state == AlertState.PENDING:
        alert.delete()
        return False
    alert.clear_since = alert.clear_since or now
    if now - alert.clear_since >= hold_of(alert, rule, now):
        return close(alert, now, "no longer met")
    alert.save(update_fields=["clear_since"])
    return False
