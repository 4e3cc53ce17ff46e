import hashlib
import json

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

    class Meta:
        ordering = ["-sequence"]

    def __str__(self) -> str:
        return f"seal {self.sequence}"

    def computed_hash(self) -> str:
        content = {
            "sequence": self.sequence,
            "period_from": self.period_from and self.period_from.isoformat(),
            "period_to": self.period_to.isoformat(),
            "count": self.count,
            "columns": self.columns,
            "root": self.root,
            "previous": self.previous,
            "created_at": self.created_at.isoformat(),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Leaf(models.Model):
    """The hashes of one sealed row. Each part has its own, so that the others still verify after a part is purged."""

    seal = models.PositiveBigIntegerField()
    source = models.CharField(max_length=40)
    row_id = models.CharField(max_length=36)
    metadata = models.BinaryField()
    code = models.BinaryField(null=True)
    output = models.BinaryField(null=True)
    artifacts = models.BinaryField(null=True)

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
