from datetime import timedelta

from django.db import models
from django.utils import timezone

# A worker notes its progress after each seal, which takes seconds. Without any for this long, it is gone.
LOST = timedelta(minutes=30)


class VerificationState(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    OK = "ok", "No findings"
    FINDINGS = "findings", "Findings"
    CANCELLED = "cancelled", "Cancelled"
    STOPPED = "stopped", "Stopped at its time limit"
    FAILED = "failed", "Failed"


OPEN = (VerificationState.QUEUED, VerificationState.RUNNING)


class VerificationQuerySet(models.QuerySet["Verification"]):
    def open(self) -> "VerificationQuerySet":
        return self.filter(ended_at__isnull=True)

    def close_lost(self) -> int:
        """End those whose worker is gone, and return how many."""
        lost = self.open().filter(progress_at__lt=timezone.now() - LOST)
        return lost.update(state=VerificationState.FAILED, ended_at=timezone.now(), error="worker lost")


class Verification(models.Model):
    """One comparison of a range of seals with the rows that they cover, by a worker."""

    first = models.PositiveBigIntegerField("first seal")
    last = models.PositiveBigIntegerField("last seal")
    state = models.CharField(max_length=9, choices=VerificationState.choices, default=VerificationState.QUEUED)
    requested_by = models.CharField(max_length=150)
    requested_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    progress_at = models.DateTimeField()
    cancel_requested_at = models.DateTimeField(null=True)
    # The newest seal that has been compared, and the rows so far.
    reached = models.PositiveBigIntegerField(null=True)
    rows = models.PositiveBigIntegerField("compared rows", default=0)
    finding_count = models.PositiveBigIntegerField("findings", default=0)
    # The first of them, as text.
    findings = models.JSONField(default=list)
    error = models.CharField(max_length=100, blank=True)

    objects = VerificationQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        default_permissions = ("view",)
        constraints = [
            # One at a time: it reads the whole history of its range.
            models.UniqueConstraint(
                fields=["ended_at"],
                condition=models.Q(ended_at__isnull=True),
                nulls_distinct=False,
                name="verification_one_open",
            ),
            models.CheckConstraint(condition=models.Q(first__lte=models.F("last")), name="verification_range"),
        ]

    def __str__(self) -> str:
        span = f"seal {self.first}" if self.first == self.last else f"seals {self.first} to {self.last}"
        return f"verification of {span}"

    @property
    def is_open(self) -> bool:
        return self.ended_at is None

    @property
    def done(self) -> float:
        """Return the share of the seals that have been compared, 0 to 1."""
        compared = 0 if self.reached is None else self.reached - self.first + 1
        return compared / (self.last - self.first + 1)
