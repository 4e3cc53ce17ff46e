from django.db import models
from django.db.models import F, Q


class OutputChunk(models.Model):
    """Live output of a running execution. After the end the execution's row holds all output, and the keeper deletes
    the chunks.

    Positions count characters of the final text, so they stay valid after the end.
    """

    # No foreign key: chunks are written while the program runs, and deleted soon.
    execution_id = models.UUIDField()
    stream = models.CharField(max_length=6, choices=[("stdout", "stdout"), ("stderr", "stderr")])
    start = models.PositiveIntegerField()
    end = models.PositiveIntegerField()
    text = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=Q(end__gt=F("start")), name="output_chunk_is_not_empty"),
        ]
        indexes = [
            # For watchers, which read the chunks after their position.
            models.Index(fields=["execution_id", "stream", "end"], name="output_chunk_position_idx"),
        ]

    def __str__(self) -> str:
        return f"{self.execution_id} {self.stream} {self.start}-{self.end}"
