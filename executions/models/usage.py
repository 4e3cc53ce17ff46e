from django.db import models

from executions.models.client import Client


class ClientUsage(models.Model):
    """How much a client had of its current minute and day. One row for each client that has a limit on it.

    The row is also the lock that makes counting safe across processes and nodes: see executions.admission.
    """

    client = models.OneToOneField(Client, on_delete=models.CASCADE, primary_key=True, related_name="usage")
    minute = models.DateTimeField(help_text="The minute that is counted.")
    minute_used = models.PositiveIntegerField()
    day = models.DateTimeField(help_text="The day that is counted, from midnight UTC.")
    day_used = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.client}: {self.minute_used} in {self.minute:%H:%M}, {self.day_used} on {self.day:%Y-%m-%d}"
