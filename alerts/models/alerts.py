from datetime import timedelta

import pgtrigger
from django.db import models
from django.db.models import OuterRef, Q, Subquery
from django.utils import timezone

from alerts.models.rules import Rule, Severity
from alerts.models.silences import Silence
from sandbox_platform.kit import conditions
from sandbox_platform.kit.conditions import LONGEST_DETAIL, LONGEST_LINK, LONGEST_SUBJECT


class AlertState(models.TextChoices):
    PENDING = "pending", "Pending"  # met, but not for long enough: nobody is told
    FIRING = "firing", "Firing"
    RESOLVED = "resolved", "Resolved"


class AlertQuerySet(models.QuerySet["Alert"]):
    def open(self) -> "AlertQuerySet":
        return self.filter(state__in=[AlertState.PENDING, AlertState.FIRING])

    def firing(self) -> "AlertQuerySet":
        return self.filter(state=AlertState.FIRING)

    def with_silences(self) -> "AlertQuerySet":
        """Add `silenced_until` and `silenced_by`: of the silence that lasts longest, None without one."""
        silences = Silence.objects.in_force(timezone.now()).filter(
            Q(subject="") | Q(subject=OuterRef("subject")), rule=OuterRef("rule")
        )
        longest = silences.order_by("-until")
        return self.annotate(
            silenced_until=Subquery(longest.values("until")[:1]),
            silenced_by=Subquery(longest.values("created_by")[:1]),
        )


class Alert(models.Model):
    """One subject that met the condition of a rule, from the time at which it did until it no longer does."""

    # No foreign key in the database: history neither blocks deletions nor goes with the rule.
    rule = models.ForeignKey(
        Rule, on_delete=models.DO_NOTHING, db_constraint=False, null=True, related_name="alerts"
    )
    rule_name = models.CharField("rule", max_length=100)
    condition = models.CharField(max_length=50)
    severity = models.CharField(max_length=8, choices=Severity.choices)
    subject = models.CharField(max_length=LONGEST_SUBJECT)
    value = models.FloatField()
    detail = models.CharField(max_length=LONGEST_DETAIL, blank=True)
    link = models.CharField(max_length=LONGEST_LINK, blank=True)
    state = models.CharField(max_length=8, choices=AlertState.choices, default=AlertState.PENDING)
    since = models.DateTimeField()  # the first evaluation that met the condition
    fired_at = models.DateTimeField(null=True)
    # The first evaluation since which the condition has not been met; null while it is met.
    clear_since = models.DateTimeField(null=True)
    notified_at = models.DateTimeField("last message at", null=True)
    resolved_at = models.DateTimeField(null=True)
    resolution = models.CharField(max_length=100, blank=True)

    objects = AlertQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "subject"], condition=~Q(state=AlertState.RESOLVED), name="alert_one_open"
            ),
            models.CheckConstraint(
                condition=Q(state=AlertState.PENDING, fired_at__isnull=True, resolved_at__isnull=True)
                | Q(state=AlertState.FIRING, fired_at__isnull=False, resolved_at__isnull=True)
                | Q(state=AlertState.RESOLVED, fired_at__isnull=False, resolved_at__isnull=False),
                name="alert_times_match_state",
            ),
        ]
        indexes = [
            # Read with each page of the console, and by each evaluation.
            models.Index(fields=["state"], condition=~Q(state=AlertState.RESOLVED), name="alert_open_idx"),
            # How often the same subject fired lately, and what is old enough to be deleted.
            models.Index(fields=["rule", "subject", "resolved_at"], name="alert_episodes_idx"),
            models.Index(fields=["resolved_at"], name="alert_resolved_idx"),
        ]
        triggers = [
            pgtrigger.Protect(
                name="resolved_is_final", operation=pgtrigger.Update, condition=pgtrigger.Q(old__state="resolved")
            )
        ]

    def __str__(self) -> str:
        return f"{self.rule_name}: {self.subject}"

    @property
    def value_words(self) -> str:
        condition = conditions.declared().get(self.condition)
        return condition.in_words(self.value) if condition else f"{self.value:g}"

    @property
    def path(self) -> str:
        # Not reverse(): the processes that send have loaded no pages.
        return f"/admin/alerts/alert/{self.pk}/change/"

    @property
    def lasted(self) -> timedelta:
        return (self.resolved_at or timezone.now()) - self.since
