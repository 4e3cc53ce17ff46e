import pgtrigger
from django.db import models
from django.db.models import Q

from executions.models.execution import Execution

HOST = r"""coalesce(rtrim(lower(substring(e.callback_url from '^[a-z]+://(\[[^]]*\]|[^/:?]*)')), '.'), '')"""


class DeliveryStatus(models.TextChoices):
    PENDING = "pending", "Pending"  # waits for its next attempt
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"  # refused permanently: by the address rules, or by 410 Gone
    GIVEN_UP = "given_up", "Given up"  # after the last attempt, or because too many are pending


class Delivery(models.Model):
    """The callback of an execution with a callback URL.

    A trigger on the execution's end inserts the row, so no callback is lost, whatever ends the execution.
    """

    execution = models.OneToOneField(Execution, on_delete=models.CASCADE, related_name="delivery")
    status = models.CharField(max_length=9, choices=DeliveryStatus.choices, default=DeliveryStatus.PENDING)
    # Port and path do not count: receivers are bounded per host. A trigger takes it from the URL.
    host = models.CharField(max_length=300, blank=True, default="", db_default="")
    # When the delivery was last queued or sent; null while it waits for its next attempt, or has ended.
    in_flight_since = models.DateTimeField(null=True)
    attempt_count = models.PositiveSmallIntegerField(
        default=0, help_text="Attempts since the delivery was last started over."
    )
    # For a delivery that is queued or being sent: when it counts as lost and is retried.
    next_attempt_at = models.DateTimeField(null=True)
    last_status_code = models.PositiveSmallIntegerField("last status", null=True)
    last_error = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "executions_delivery"
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        constraints = [
            models.CheckConstraint(
                condition=Q(status=DeliveryStatus.PENDING, next_attempt_at__isnull=False, finished_at__isnull=True)
                | Q(
                    status__in=[DeliveryStatus.DELIVERED, DeliveryStatus.FAILED, DeliveryStatus.GIVEN_UP],
                    next_attempt_at__isnull=True,
                    finished_at__isnull=False,
                ),
                name="delivery_finished_iff_not_pending",
            ),
        ]
        indexes = [
            # For the keeper's query of due deliveries; nearly all rows are finished.
            models.Index(
                fields=["next_attempt_at"], condition=Q(status=DeliveryStatus.PENDING), name="delivery_due_idx"
            ),
        ]

        triggers = [
            pgtrigger.Trigger(
                name="host_is_noted",
                operation=pgtrigger.Insert,
                when=pgtrigger.Before,
                func=f"""
                    SELECT {HOST} INTO NEW.host FROM executions_execution e WHERE e.id = NEW.execution_id;
                    RETURN NEW;
                """,  # noqa: S608
            ),
        ]

    def __str__(self) -> str:
        return f"callback to {self.host}, {self.created_at:%Y-%m-%d %H:%M:%S}"


class DeliveryAttempt(models.Model):
    """One request and its result. Only the response's status is stored: its body is untrusted."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempts")
    at = models.DateTimeField()
    status_code = models.PositiveSmallIntegerField("status", null=True)
    duration_ms = models.PositiveIntegerField()
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        db_table = "executions_deliveryattempt"
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.status_code or self.error}"
