"""Periodic jobs of alerts: the keeper evaluates, and the callbacks service watches the keeper."""

from datetime import timedelta

from django.conf import settings
from django.db.models import Max
from django.utils import timezone

from alerts import evaluation, notifications
from alerts.models import Alert, Notification, NotificationStatus, RuleState, Silence
from sandbox_platform.kit.jobs import Job, LastRun, declare
from sandbox_platform.kit.services import Service

LOOK_EVERY_S = 15.0


def _last_evaluation() -> LastRun:
    newest = RuleState.objects.aggregate(newest=Max("evaluated_at"))["newest"]
    failing = RuleState.objects.exclude(error="").count()
    firing = Alert.objects.firing().count()
    words = f"Firing: {firing}." + (f" Rules that cannot be evaluated: {failing}." if failing else "")
    return LastRun(newest, words)


def purge() -> None:
    """Delete resolved alerts, notifications and ended silences older than SANDBOX_ALERT_DAYS."""
    before = timezone.now() - timedelta(days=settings.SANDBOX_ALERT_DAYS)
    Notification.objects.filter(created_at__lt=before).exclude(status=NotificationStatus.PENDING).delete()
    Alert.objects.filter(resolved_at__lt=before).delete()
    Silence.objects.filter(until__lt=before).delete()


declare(
    Job(
        "Evaluate alerts",
        "Read the figures that the rules of alerts watch, open and resolve alerts, and queue their messages.",
        evaluation.EVERY,
        lambda: evaluation.evaluate(Service.KEEPER),
        look_every_s=LOOK_EVERY_S,
        last_run=_last_evaluation,
    )
)
declare(
    Job(
        "Evaluate alerts about the keeper",
        "Find out whether a keeper is gone, which no keeper can. The callbacks service does this.",
        evaluation.EVERY,
        lambda: evaluation.evaluate(Service.CALLBACKS),
        look_every_s=LOOK_EVERY_S,
        runs_in=Service.CALLBACKS,
    )
)
declare(
    Job(
        "Queue messages about alerts",
        "Queue the messages that are due: those of other processes, and those whose last attempt failed.",
        timedelta(seconds=5),
        notifications.enqueue_due,
        look_every_s=5.0,
        runs_in=Service.CALLBACKS,
    )
)
declare(
    Job(
        "Delete old alerts",
        "Delete resolved alerts, their messages and ended silences older than SANDBOX_ALERT_DAYS.",
        timedelta(days=1),
        purge,
        look_every_s=3600.0,
        first_s=60.0,
    )
)
