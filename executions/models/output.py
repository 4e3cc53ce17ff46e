from django.db import models
from django.db.models import F, Q


class OutputChunk(models.Model):
    """Output of a run that is still going on, for whoever watches it. After the end the execution's row has all of
    it, and the keeper deletes these.

    Positions count characters of the text as the row will hold it, so they mean the same before the end and after.
    """

    # No foreign key: these are written while a program runs, and gone soon.
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
            # A watcher asks for what comes after what it has.
            models.Index(fields=["execution_id", "stream", "end"], name="output_chunk_position_idx"),
        ]

    def __str__(self) -> str:
        return f"{self.execution_id} {self.stream} {self.start}-{self.end}"
