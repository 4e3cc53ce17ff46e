from django.db import models
from django.db.models import Q


class Count(models.Model):
    """Number of executions queued in a span of time. No foreign keys: figures outlive the rows that they count."""

    runtime_id = models.BigIntegerField()
    client_id = models.BigIntegerField(null=True)
    status = models.CharField(max_length=14)
    count = models.PositiveIntegerField()
    warm = models.PositiveIntegerField()
    cold = models.PositiveIntegerField()

    class Meta:
        abstract = True


class Time(models.Model):
    """Histogram of the durations of the executions of a span of time; see figures.BUCKET for the buckets."""

    runtime_id = models.BigIntegerField()
    kind = models.CharField(max_length=8, choices=[("run", "the program"), ("platform", "the platform")])
    bucket = models.PositiveSmallIntegerField()
    count = models.PositiveIntegerField()

    class Meta:
        abstract = True


class HourlyCount(Count):
    hour = models.DateTimeField()

    class Meta:
        db_table = "console_hourlycount"
        indexes = [models.Index(fields=["hour"], name="hourly_count_hour_idx")]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H} {self.status}: {self.count}"


class HourlyTime(Time):
    hour = models.DateTimeField()

    class Meta:
        db_table = "console_hourlytime"
        indexes = [models.Index(fields=["hour"], name="hourly_time_hour_idx")]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H} {self.kind} {self.bucket}: {self.count}"


class DailyCount(Count):
    """The sums of the HourlyCounts of one day, so that a year is read as days. `day`: its begin, in UTC."""

    day = models.DateTimeField()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["day"], name="daily_count_day_idx")]

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d} {self.status}: {self.count}"


class DailyTime(Time):
    """The sums of the HourlyTimes of one day."""

    day = models.DateTimeField()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["day"], name="daily_time_day_idx")]

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d} {self.kind} {self.bucket}: {self.count}"


class Rollup(models.Model):
    """A single row: all hours before `up_to` are counted, and all days before `days_up_to` are summed.

    `days_up_to`: null before the first day is summed, as after an upgrade.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    up_to = models.DateTimeField()
    days_up_to = models.DateTimeField(null=True)

    class Meta:
        db_table = "console_rollup"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="rollup_is_one_row")]

    def __str__(self) -> str:
        return f"up to {self.up_to:%Y-%m-%d %H:%M}"
