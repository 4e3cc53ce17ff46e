from django.db import models


class DoctorReport(models.Model):
    """What the checks of one node said last, in the words of whoever could look: the web process has no Docker."""

    node = models.CharField(max_length=100, primary_key=True)
    asked_at = models.DateTimeField(null=True)
    asked_by = models.CharField(max_length=150, blank=True)
    finished_at = models.DateTimeField(null=True)
    checks = models.JSONField(default=list)

    def __str__(self) -> str:
        return self.node
