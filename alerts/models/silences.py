from datetime import datetime

from django.db import models
from django.db.models import Q

from alerts.models.rules import Rule
from sandbox_platform.kit.conditions import LONGEST_SUBJECT


class SilenceQuerySet(models.QuerySet["Silence"]):
    def in_force(self, now: datetime) -> "SilenceQuerySet":
        return self.filter(until__gt=now, ended_at__isnull=True)


class Silence(models.Model):
    """No messages about a rule, or one of its subjects, for a while. Its alerts open and resolve all the same."""

    rule = models.ForeignKey(Rule, on_delete=models.CASCADE, related_name="silences")
    subject = models.CharField(
        max_length=LONGEST_SUBJECT,
        blank=True,
        help_text="As in the list of alerts, such as “client ragflow”. Empty: all subjects of the rule.",
    )
    until = models.DateTimeField()
    reason = models.CharField(max_length=300)
    created_by = models.CharField(max_length=150, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, editable=False)
    ended_by = models.CharField(max_length=150, blank=True, editable=False)

    objects = SilenceQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        default_permissions = ("view", "add", "change")
        constraints = [
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, ended_by="") | Q(ended_at__isnull=False) & ~Q(ended_by=""),
                name="alert_silence_ended_by_somebody",
            )
        ]

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject or 'all subjects'}"

    def covers(self, rule_id: int | None, subject: str) -> bool:
        return self.rule_id == rule_id and self.subject in ("", subject)
