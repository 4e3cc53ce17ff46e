"""Tells whether the rules are evaluated at all. The web asks, which is not among the processes that evaluate."""

from django.utils import timezone

from alerts.evaluation import STALE
from alerts.models import Rule, RuleState


def unwatched() -> str:
    """Return what is wrong with the evaluation itself, "" if every enabled rule is evaluated."""
    enabled = Rule.objects.filter(enabled=True)
    since = timezone.now() - STALE
    late = [rule.name for rule in enabled.filter(state__evaluated_at__lt=since).order_by("name")]
    late += [rule.name for rule in enabled.filter(state__evaluated_at__isnull=True, created_at__lt=since)]
    failing = RuleState.objects.exclude(error="").filter(rule__enabled=True).values_list("rule__name", "error")
    problems = [f"{name} ({error})" for name, error in failing]
    if late:
        minutes = round(STALE.total_seconds() / 60)
        problems.append(f"not evaluated for {minutes} minutes: {_few(late)}")
    return "; ".join(problems)


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
