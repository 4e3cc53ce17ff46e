import uuid_utils.compat
from django.db import models
from django.db.models import F

from clients.models import Client
from executions.failures.fingerprints import LONGEST_MESSAGE, LONGEST_PLACE, LONGEST_TYPE, QUOTING, Kind
from executions.models import Execution
from executions.models.ids import short_id
from runtimes.models import Runtime


class FailureGroup(models.Model):
    """Failed runs of one client and runtime with the same fingerprint."""

    id = models.UUIDField(primary_key=True, default=uuid_utils.compat.uuid7, editable=False)
    # Without constraints: who deletes a client need not be able to write here. The sweep removes what is left.
    client = models.ForeignKey(
        Client, on_delete=models.DO_NOTHING, db_constraint=False, null=True, related_name="+", db_index=False
    )
    runtime = models.ForeignKey(
        Runtime, on_delete=models.DO_NOTHING, db_constraint=False, null=True, related_name="+", db_index=False
    )
    fingerprint = models.CharField(max_length=64)
    kind = models.CharField(max_length=12, choices=Kind.choices)
    title = models.CharField(
        "failure", max_length=LONGEST_TYPE, help_text="The exception's type, or what ended the run."
    )
    message = models.CharField(
        max_length=LONGEST_MESSAGE, blank=True, help_text="Without numbers, addresses, ids and paths."
    )
    place = models.CharField(max_length=LONGEST_PLACE, blank=True, help_text="File and function, or the program.")
    count = models.PositiveBigIntegerField(default=0, help_text="Number of runs since the first.")
    first_at = models.DateTimeField("first", help_text="When its first run ended.")
    last_at = models.DateTimeField("last", help_text="When its latest run ended.")
    created_at = models.DateTimeField(help_text="When the platform first saw it.")

    class Meta:
        db_table = "executions_failuregroup"
        ordering = ["-last_at"]
        verbose_name = "failure"
        constraints = [
            models.UniqueConstraint(
                fields=["client", "fingerprint"], nulls_distinct=False, name="failure_group_once"
            ),
        ]
        indexes = [
            models.Index(fields=["-last_at", "-id"], name="failure_group_last_idx"),
            models.Index(fields=["created_at"], name="failure_group_new_idx"),
        ]

    def __str__(self) -> str:
        return f"{self.title}: {self.message}" if self.message else self.title

    @property
    def without_output(self) -> str:
        """Return a name of which a program's output decides nothing: what it is, on what, since when.

        It never changes, and is unique by the end of the id.
        """
        what = Kind(self.kind).label if self.kind in QUOTING else self.title
        runtime = self.runtime or "a deleted runtime"
        return f"{what} on {runtime}, new at {self.created_at:%Y-%m-%d %H:%M} UTC ({short_id(self.pk)})"


class FailureRun(models.Model):
    """The group of a failed run. A table of its own, because the row of an ended run never changes."""

    execution = models.OneToOneField(Execution, on_delete=models.CASCADE, primary_key=True, related_name="failure")
    group = models.ForeignKey(FailureGroup, on_delete=models.CASCADE, related_name="runs", db_index=False)

    class Meta:
        db_table = "executions_failurerun"
        # Ids are ordered by time: the latest runs of a group are read first.
        indexes = [models.Index(F("group"), F("execution").desc(), name="failure_run_group_idx")]

    def __str__(self) -> str:
        return str(self.execution_id)


class FailureHour(models.Model):
    """Number of a group's runs that were queued in one hour."""

    group = models.ForeignKey(FailureGroup, on_delete=models.CASCADE, related_name="hours", db_index=False)
    hour = models.DateTimeField()
    count = models.PositiveIntegerField()

    class Meta:
        db_table = "executions_failurehour"
        constraints = [models.UniqueConstraint(fields=["group", "hour"], name="failure_hour_once")]
        indexes = [models.Index(fields=["hour", "group"], include=["count"], name="failure_hour_idx")]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}: {self.count}"


class FailurePending(models.Model):
    """A failed run that is not in a group yet. A trigger inserts it in the transaction that ends the run."""

    execution_id = models.UUIDField(primary_key=True)

    class Meta:
        db_table = "executions_failurepending"

    def __str__(self) -> str:
        return str(self.execution_id)
