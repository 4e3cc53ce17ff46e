from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator
from django.db import models

from sandbox_platform.kit import conditions
from sandbox_platform.kit.conditions import DAY_MS, MINUTE_MS, Condition


class Severity(models.TextChoices):
    INFO = "info", "Info"
    WARNING = "warning", "Warning"
    CRITICAL = "critical", "Critical"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


def _time(default: int, most: int, label: str, help_text: str) -> "models.PositiveBigIntegerField[int, int]":
    return models.PositiveBigIntegerField(
        label, default=default, validators=[MaxValueValidator(most)], help_text=help_text
    )


class Rule(models.Model):
    """Watches one condition, with values for its parameters. Every subject that meets it gets an alert of its own."""

    name = models.CharField(max_length=100, unique=True, help_text="Stands in the subject of each message.")
    condition = models.CharField(max_length=50)
    parameters = models.JSONField(default=dict, blank=True)
    enabled = models.BooleanField(default=True, help_text="If disabled, its open alerts are resolved.")
    severity = models.CharField(max_length=8, choices=Severity.choices, default=Severity.WARNING)
    pending_ms = _time(
        0, DAY_MS, "pending for", "How long the condition must be met before an alert fires. 0: at once."
    )
    recover_ms = _time(
        5 * MINUTE_MS, DAY_MS, "recovers after",
        "How long the condition must not be met before the alert is resolved. Doubled for each alert about the same "
        "subject in the last 6 hours, up to an hour: what comes and goes stays one alert.",
    )  # fmt: skip
    remind_ms = _time(
        4 * 60 * MINUTE_MS, 7 * DAY_MS, "remind every", "Sends a message again while the alert fires. 0: never."
    )
    # Names, as in Client.allowed_runtimes: deleting the last channel of a rule must not send it to all of them.
    channels = ArrayField(
        models.CharField(max_length=100),
        default=list,
        blank=True,
        help_text="Channels that get the messages. None: every enabled channel that takes this severity.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        verbose_name = "alert rule"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(severity__in=Severity.values), name="alert_rule_severity_is_known"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def watches(self) -> Condition | None:
        """Return the condition; None if no room of this release declares it."""
        return conditions.declared().get(self.condition)

    @property
    def pending(self) -> timedelta:
        return timedelta(milliseconds=self.pending_ms)

    @property
    def remind(self) -> timedelta | None:
        return timedelta(milliseconds=self.remind_ms) if self.remind_ms else None


class RuleState(models.Model):
    """When a rule was evaluated last. Not part of the rule, whose changes are in the trail."""

    rule = models.OneToOneField(Rule, on_delete=models.CASCADE, primary_key=True, related_name="state")
    evaluated_at = models.DateTimeField(null=True)
    # The class of the exception of the last evaluation, "" if it succeeded. Its text may quote a row.
    error = models.CharField(max_length=100, blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.rule}: {self.error or 'ok'}"


class ShippedKey(models.Model):
    """A shipped rule that was created once. It is not created again after somebody has deleted it."""

    key = models.CharField(max_length=50, primary_key=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.key
