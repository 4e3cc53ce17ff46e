import pgtrigger
from django.db import models
from django.db.models import Q

from alerts.models.alerts import Alert
from alerts.models.channels import Channel


class NotificationKind(models.TextChoices):
    ALERTS = "alerts", "Alerts"
    TEST = "test", "Test"


class NotificationStatus(models.TextChoices):
    PENDING = "pending", "Pending"  # waits for its next attempt
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"  # a retry cannot succeed
    GIVEN_UP = "given_up", "Given up"  # after the last attempt, or because too many are pending


ENDED = (NotificationStatus.DELIVERED, NotificationStatus.FAILED, NotificationStatus.GIVEN_UP)


class Notification(models.Model):
    """One message to one channel: everything that fired, was due for a reminder or resolved in one evaluation."""

    kind = models.CharField(max_length=6, choices=NotificationKind.choices, default=NotificationKind.ALERTS)
    # No foreign key in the database: the history of a deleted channel stays.
    channel = models.ForeignKey(
        Channel, on_delete=models.DO_NOTHING, db_constraint=False, null=True, related_name="notifications"
    )
    channel_name = models.CharField("channel", max_length=100)
    alerts = models.ManyToManyField(Alert, related_name="notifications")
    # The rendered lines, as of the time of the event; see messages.Line.
    lines = models.JSONField(default=list)
    requested_by = models.CharField(max_length=150, blank=True)  # of a test
    status = models.CharField(max_length=9, choices=NotificationStatus.choices, default=NotificationStatus.PENDING)
    # The receiving host or mail server: messages to it are bounded.
    host = models.CharField(max_length=300, blank=True)
    attempt_count = models.PositiveSmallIntegerField(default=0)
    in_flight_since = models.DateTimeField(null=True)
    # For one that is queued or being sent: when it counts as lost and is tried again.
    next_attempt_at = models.DateTimeField(null=True)
    last_answer = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    status=NotificationStatus.PENDING, next_attempt_at__isnull=False, finished_at__isnull=True
                )
                | Q(status__in=ENDED, next_attempt_at__isnull=True, finished_at__isnull=False),
                name="alert_notification_finished_iff_not_pending",
            )
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(status=NotificationStatus.PENDING),
                name="alert_notification_due_idx",
            ),
            models.Index(fields=["created_at"], name="alert_notification_age_idx"),
        ]
        triggers = [
            pgtrigger.Protect(
                name="ended_is_final",
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition("OLD.status <> 'pending'"),
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display().lower()} to {self.channel_name}, {self.created_at:%Y-%m-%d %H:%M:%S}"


class Attempt(models.Model):
    """One attempt to deliver a notification. `answer`: the status of the receiver, or the mail server's reply."""

    notification = models.ForeignKey(Notification, on_delete=models.CASCADE, related_name="attempts")
    at = models.DateTimeField()
    ok = models.BooleanField()
    duration_ms = models.PositiveIntegerField()
    answer = models.CharField(max_length=300)

    class Meta:
        ordering = ["id"]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.answer}"
