import hashlib
import json

from django.db import models


class Seal(models.Model):
    """Vouches for every row that was final when it was made and that no seal before it vouched for."""

    sequence = models.PositiveBigIntegerField(primary_key=True)
    period_from = models.DateTimeField(null=True)
    period_to = models.DateTimeField()
    count = models.PositiveBigIntegerField()
    # Which columns each hash covers: a seal must stand when a later version has other columns.
    columns = models.JSONField()
    root = models.CharField(max_length=64)
    previous = models.CharField(max_length=64, blank=True)
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
    """The hashes of one sealed row, each part by itself: a part may be purged, and the others still verify."""

    seal = models.PositiveBigIntegerField()
    source = models.CharField(max_length=40)
    row_id = models.CharField(max_length=36)
    metadata = models.BinaryField()
    code = models.BinaryField(null=True)
    output = models.BinaryField(null=True)
    artifacts = models.BinaryField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "row_id"], name="leaf_row_once")]
        # A seal's root is over its leaves in the order of their ids.
        indexes = [models.Index(fields=["seal", "id"], name="leaf_of_seal_idx")]

    def __str__(self) -> str:
        return f"{self.source} {self.row_id}"


class Pending(models.Model):
    """A final row that waits for its seal. Written by triggers in the row's own transaction, and taken away only
    with its leaf: no clock decides which seal a row belongs to, so none can slip between two."""

    source = models.CharField(max_length=40)
    row_id = models.CharField(max_length=36)

    class Meta:
        verbose_name_plural = "pending rows"

    def __str__(self) -> str:
        return f"{self.source} {self.row_id}"
