import hashlib
import json
from typing import Any

from django.db import models


class Seal(models.Model):
    """Covers every row that was final when the seal was made and that no earlier seal covers."""

    sequence = models.PositiveBigIntegerField("number", primary_key=True)
    period_from = models.DateTimeField(null=True)
    period_to = models.DateTimeField()
    count = models.PositiveBigIntegerField("sealed rows")
    # The columns that each hash covers: the seal must still verify when a later version has other columns.
    columns = models.JSONField("columns that the hashes cover")
    root = models.CharField("root of the leaves", max_length=64)
    previous = models.CharField("hash of the previous seal", max_length=64, blank=True)
    hash = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    # Seals made before there were keys have neither key nor signature.
    key = models.CharField("key's fingerprint", max_length=64, blank=True)
    signature = models.BinaryField(null=True)
    # What the sealing process states about the seals before this one, under the names below.
    statement = models.JSONField(null=True)

    # Statements, each about one head: up to it, seals have no signature; it was made, and a backup replaced it.
    UNSIGNED = "unsigned"
    RESTORED = "restored"

    class Meta:
        ordering = ["-sequence"]

    def __str__(self) -> str:
        return f"seal {self.sequence}"

    @property
    def head(self) -> str:
        return f"{self.sequence}:{self.hash}"

    @property
    def signed(self) -> bytes:
        """Return the bytes that the signature is about. The prefix keeps it from passing for another one's."""
        return f"sandbox-platform seal\n{self.head}\n".encode()

    def computed_hash(self) -> str:
        content: dict[str, Any] = {
            "sequence": self.sequence,
            "period_from": self.period_from and self.period_from.isoformat(),
            "period_to": self.period_to.isoformat(),
            "count": self.count,
            "columns": self.columns,
            "root": self.root,
            "previous": self.previous,
            "created_at": self.created_at.isoformat(),
        }
        if self.key:
            content |= {"key": self.key, "statement": self.statement}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class SealKey(models.Model):
    """A public key that signs seals from a time on. All but the first are signed by the key before them."""

    fingerprint = models.CharField(max_length=64, unique=True)
    public_key = models.BinaryField()
    used_from = models.DateTimeField()
    previous = models.CharField(max_length=64, blank=True)
    # Null: the first key, or a key after the loss of the one before.
    signature = models.BinaryField(null=True)

    class Meta:
        ordering = ["id"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"key {self.fingerprint[:16]}…"


def introduction(key: SealKey) -> bytes:
    """Return the bytes with which a key introduces the next one. It signs them."""
    words = (key.fingerprint, key.previous, key.used_from.isoformat())
    return "\n".join(("sandbox-platform seal key", *words, "")).encode()


class SealingFailure(models.Model):
    """Why a node does not seal now. The row goes with the next seal."""

    node = models.CharField(max_length=100, primary_key=True)
    at = models.DateTimeField()
    reason = models.TextField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.node}: {self.reason}"


class HeadDestination(models.Model):
    """How far the heads of seals have left the machine, for one destination."""

    name = models.CharField(max_length=120, primary_key=True)
    # The newest seal whose head has left.
    delivered = models.PositiveBigIntegerField(default=0)
    delivered_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0, help_text="Failed attempts since the last success.")
    next_attempt_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


class Leaf(models.Model):
    """The hashes of one sealed row. Each part has its own, so that the others still verify after a part is purged."""

    seal = models.PositiveBigIntegerField()
    source = models.CharField(max_length=40)
    row_id = models.CharField(max_length=36)
    metadata = models.BinaryField()
    code = models.BinaryField(null=True)
    output = models.BinaryField(null=True)
    artifacts = models.BinaryField(null=True)
    # Whose the execution was and when it ended: verification asks them of a purge, after which the row is gone.
    client = models.BigIntegerField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "row_id"], name="leaf_row_once")]
        # A seal's root hashes its leaves in the order of their ids.
        indexes = [models.Index(fields=["seal", "id"], name="leaf_of_seal_idx")]

    def __str__(self) -> str:
        return f"{self.source} {self.row_id}"


class Pending(models.Model):
    """A final row that waits for its seal.

    Triggers write it in the row's own transaction, and the seal that covers the row deletes it. No clock decides which
    seal covers a row, so no row can fall between two seals.
    """

    source = models.CharField(max_length=40)
    row_id = models.CharField(max_length=36)

    class Meta:
        verbose_name_plural = "pending rows"

    def __str__(self) -> str:
        return f"{self.source} {self.row_id}"
