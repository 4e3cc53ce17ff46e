"""Figures by the hour. They have no foreign keys: they outlive the rows that they count."""

from django.db import models
from django.db.models import Q


class Usage(models.Model):
    """What the executions accepted in a span of time have used, of one client on one runtime."""

    client_id = models.BigIntegerField(null=True)
    runtime_id = models.BigIntegerField()
    runs = models.PositiveBigIntegerField()
    rejected = models.PositiveBigIntegerField(help_text="Those of the runs whose program was not started.")
    cpu_ms = models.PositiveBigIntegerField()
    memory_byte_seconds = models.PositiveBigIntegerField(help_text="Peak memory times duration.")
    egress_bytes = models.PositiveBigIntegerField()

    class Meta:
        abstract = True


class HourlyUsage(Usage):
    hour = models.DateTimeField()

    class Meta:
        default_permissions = ("view",)
        verbose_name = "usage"
        verbose_name_plural = "usage"
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "client_id", "runtime_id"], nulls_distinct=False, name="hourly_usage_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H} client {self.client_id} runtime {self.runtime_id}: {self.runs}"


class DailyUsage(Usage):
    """The sums of the HourlyUsage of one day, so that a year is read as days. `day`: its begin, in UTC."""

    day = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["day", "client_id", "runtime_id"], nulls_distinct=False, name="daily_usage_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d} client {self.client_id} runtime {self.runtime_id}: {self.runs}"


class StoredSample(models.Model):
    """How many bytes a client's history held in an hour."""

    hour = models.DateTimeField()
    client_id = models.BigIntegerField()
    bytes = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["hour", "client_id"], name="stored_sample_once")]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H} client {self.client_id}: {self.bytes} bytes"


class Refusal(models.Model):
    """Number of requests that were refused in one hour, by kind. `client_id`: null if it is not known."""

    hour = models.DateTimeField()
    client_id = models.BigIntegerField(null=True)
    runtime_id = models.BigIntegerField(null=True)
    kind = models.CharField(max_length=20)
    count = models.PositiveBigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "client_id", "runtime_id", "kind"], nulls_distinct=False, name="refusal_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H} client {self.client_id} {self.kind}: {self.count}"


class Counted(models.Model):
    """A single row: the usage of all hours before `up_to` is counted, and summed of all days before `days_up_to`.

    `days_up_to`: null before the first day is summed, as after an upgrade.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    up_to = models.DateTimeField()
    days_up_to = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [models.CheckConstraint(condition=Q(id=1), name="usage_counted_is_one_row")]

    def __str__(self) -> str:
        return f"up to {self.up_to:%Y-%m-%d %H:%M}"
