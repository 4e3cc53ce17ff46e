"""Evaluates the rules, and decides what is told.

Each condition names the service that evaluates it. Every process of that service may try; an advisory lock lets one at
a time, and the others find it done. Alerts and the notifications about them are written in one transaction.
"""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice

from django.db import connection, transaction
from django.utils import timezone

from alerts import notifications, transitions
from alerts.models import Alert, Rule, RuleState
from sandbox_platform.kit import conditions
from sandbox_platform.kit.conditions import Condition, Finding
from sandbox_platform.kit.failures import without_text
from sandbox_platform.kit.locks import Lock, node_key
from sandbox_platform.kit.services import Service

logger = logging.getLogger(__name__)

EVERY = timedelta(minutes=1)
# Two processes that look at different times do not evaluate twice as often.
NOT_BEFORE = timedelta(seconds=50)
# Without an evaluation for this long, nobody watches.
STALE = timedelta(minutes=5)
# Subjects of one rule. More are one attack or one fault, and no list that somebody reads.
MOST_SUBJECTS = 100
STATEMENT_S = 20


@transaction.atomic
def evaluate(service: Service) -> int:
    """Evaluate the rules that this service evaluates and that are due; return how many. Several may call this."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [Lock.ALERTS, node_key(service)])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_S}s'")
    now = timezone.now()
    mine = {name: each for name, each in conditions.declared().items() if each.evaluated_by == service}
    rules = list(Rule.objects.filter(enabled=True, condition__in=mine).select_related("state").order_by("pk"))
    resolved = _close_orphans(mine, rules, now)
    due = [rule for rule in rules if _is_due(rule, now)]
    for rule in due:
        resolved += _evaluate(rule, mine[rule.condition], now)
    notifications.notify(mine, resolved, now)
    return len(due)


def _is_due(rule: Rule, now: datetime) -> bool:
    state = getattr(rule, "state", None)
    return (
        state is None or state.evaluated_at is None or now - state.evaluated_at >= NOT_BEFORE or bool(state.error)
    )


def _evaluate(rule: Rule, condition: Condition, now: datetime) -> list[Alert]:
    """Return the alerts that are resolved now. After a failure all alerts stay as they are."""
    try:
        with transaction.atomic():
            findings = _findings(condition, rule)
            resolved = transitions.apply(rule, findings, now)
    except Exception as e:
        # A condition belongs to another room: its failure must not keep the other rules from being evaluated.
        logger.error("alert rule %s cannot be evaluated: %s", rule.pk, without_text(e))
        RuleState.objects.update_or_create(rule=rule, defaults={"error": type(e).__name__})
        return []
    RuleState.objects.update_or_create(rule=rule, defaults={"evaluated_at": now, "error": ""})
    return resolved


def _findings(condition: Condition, rule: Rule) -> list[Finding]:
    """Return at most MOST_SUBJECTS findings, one for each subject: those with open alerts first, then the worst."""
    found = {each.subject: each for each in _bounded(condition.evaluate(condition.values(rule.parameters)))}
    if len(found) <= MOST_SUBJECTS:
        return list(found.values())
    logger.warning("alert rule %s: %s subjects, the first %s count", rule.pk, len(found), MOST_SUBJECTS)
    known = set(Alert.objects.open().filter(rule=rule).values_list("subject", flat=True))
    return sorted(found.values(), key=lambda each: (each.subject not in known, -each.value))[:MOST_SUBJECTS]


def _bounded(findings: Iterable[Finding]) -> Iterable[Finding]:
    return (each.bounded for each in islice(findings, 100 * MOST_SUBJECTS))


def _close_orphans(mine: Iterable[str], rules: list[Rule], now: datetime) -> list[Alert]:
    """Resolve the alerts of rules that were disabled or deleted; return those that had fired."""
    orphans = (
        Alert.objects.open().filter(condition__in=list(mine)).exclude(rule_id__in=[rule.pk for rule in rules])
    )
    return [alert for alert in orphans if transitions.close(alert, now, "rule disabled or deleted")]
