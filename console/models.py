from django.db import models


class DoctorReport(models.Model):
    """The doctor's last report on one node. A worker writes it: the web process has no access to Docker."""

    node = models.CharField(max_length=100, primary_key=True)
    asked_at = models.DateTimeField(null=True)
    asked_by = models.CharField(max_length=150, blank=True)
    finished_at = models.DateTimeField(null=True)
    checks = models.JSONField(default=list)

    def __str__(self) -> str:
        return self.node
