from django.db import models
from django.db.models import Q


class HourlyCount(models.Model):
    """Number of executions queued in one hour. No foreign keys: figures outlive the rows that they count."""

    hour = models.DateTimeField()
    runtime_id = models.BigIntegerField()
    client_id = models.BigIntegerField(null=True)
    status = models.CharField(max_length=14)
    count = models.PositiveIntegerField()
    warm = models.PositiveIntegerField()
    cold = models.PositiveIntegerField()

    class Meta:
        db_table = "console_hourlycount"
        indexes = [models.Index(fields=["hour"], name="hourly_count_hour_idx")]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H} {self.status}: {self.count}"


class HourlyTime(models.Model):
    """Histogram of durations of one hour's executions; see figures.BUCKET for the buckets."""

    hour = models.DateTimeField()
    runtime_id = models.BigIntegerField()
    kind = models.CharField(max_length=8, choices=[("run", "the program"), ("platform", "the platform")])
    bucket = models.PositiveSmallIntegerField()
    count = models.PositiveIntegerField()

    class Meta:
        db_table = "console_hourlytime"
        indexes = [models.Index(fields=["hour"], name="hourly_time_hour_idx")]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H} {self.kind} {self.bucket}: {self.count}"


class Rollup(models.Model):
    """A single row: all hours before `up_to` are counted."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    up_to = models.DateTimeField()

    class Meta:
        db_table = "console_rollup"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="rollup_is_one_row")]

    def __str__(self) -> str:
        return f"up to {self.up_to:%Y-%m-%d %H:%M}"
