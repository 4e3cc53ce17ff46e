from typing import Any
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models.expressions import RawSQL

from clients.models import Client

LONGEST_DAYS = 36_500


class ExecutionPart(models.TextChoices):
    """The parts of an execution that can be purged separately."""

    CODE = "code", "Code, arguments and input"
    OUTPUT = "output", "Output and result"
    ARTIFACTS = "artifacts", "Artifacts"
    METADATA = "metadata", "The whole record"


def _days(what: str) -> Any:
    return models.PositiveIntegerField(
        f"keep {what}, in days",
        null=True,
        blank=True,
        validators=[MaxValueValidator(LONGEST_DAYS)],
        help_text="Empty: kept for ever. 0: removed by the first hourly purge 10 minutes or more after the end.",
    )


class RetentionPolicyQuerySet(models.QuerySet["RetentionPolicy"]):
    def redacts_by_client(self) -> dict[int | None, bool]:
        return {policy.client_id: policy.redact for policy in self.only("client", "redact")}

    def any_redacts(self) -> models.Exists:
        return models.Exists(self.filter(redact=True))


class RetentionPolicy(models.Model):
    """How long a client's executions are kept, and whether secrets in them are redacted."""

    client = models.OneToOneField(
        Client,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="retention",
        help_text="Empty: the default policy, for clients without a policy of their own.",
    )
    keep_code_days = _days("code, arguments and input")
    keep_output_days = _days("output and result")
    keep_artifacts_days = _days("artifacts")
    keep_metadata_days = _days("the record itself")
    redact = models.BooleanField(
        "redact secrets",
        default=False,
        help_text="When a run ends, replace matches of the redaction patterns in code, arguments, input, environment "
        "variables, output, result, message, labels and paths of files. "
        "The program runs with the original. The caller's answer is redacted like the history.",
    )

    objects = RetentionPolicyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "retention policies"
        constraints = [
            # The unique index of the column allows NULL more than once.
            models.UniqueConstraint(fields=["client"], nulls_distinct=False, name="retention_one_default"),
        ]

    def __str__(self) -> str:
        return f"policy of {self.client or 'all other clients'}"

    def days(self, kind: ExecutionPart) -> int | None:
        days: int | None = getattr(self, f"keep_{kind}_days")
        return days


class PurgeRecordQuerySet(models.QuerySet["PurgeRecord"]):
    def purged_output(self, executions: list[UUID]) -> set[UUID]:
        """Return the ids among `executions` whose output has been purged."""
        purges = self.filter(kind=ExecutionPart.OUTPUT)
        return {each for each in executions if purges.filter(ids__contains=[each]).exists()}


class PurgeRecord(models.Model):
    """One batch of a purge, which also authorizes it.

    Triggers permit the change or deletion of a finished execution only if a purge record of the same transaction names
    it and a policy requires it.
    """

    kind = models.CharField(max_length=9, choices=ExecutionPart.choices)
    policy = models.CharField(max_length=200)
    keep_days = models.PositiveIntegerField()
    cutoff = models.DateTimeField()
    count = models.PositiveIntegerField()
    first_id = models.UUIDField()
    last_id = models.UUIDField()
    ids = ArrayField(models.UUIDField())
    created_at = models.DateTimeField()
    transaction = models.BigIntegerField(db_default=RawSQL("pg_current_xact_id()::text::bigint", ()))
    role = models.TextField(db_default=RawSQL("session_user::text", ()))
    application = models.TextField(db_default=RawSQL("current_setting('application_name')", ()))

    objects = PurgeRecordQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            # The triggers look up a transaction's record, verification all records of an execution.
            models.Index(fields=["transaction"], name="purge_transaction_idx"),
            GinIndex(fields=["ids"], name="purge_ids_idx"),
        ]

    def __str__(self) -> str:
        return f"purge {self.pk}: {self.kind} of {self.count}"
