from django.contrib.postgres.fields import ArrayField
from django.db import models

from clients.models.client import Client

# One more than a minute has: the seconds at both ends count whole, so that no 60 seconds hold more than allowed.
SECONDS = 61


def no_seconds() -> list[int]:
    return [0] * SECONDS


class ClientUsage(models.Model):
    """How much a client had in the last minute and of its current day. One row for each client that has a limit on
    it.

    The row is also the lock that makes counting safe across processes and nodes: see clients.admission.
    """

    client = models.OneToOneField(Client, on_delete=models.CASCADE, primary_key=True, related_name="usage")
    second = models.BigIntegerField(default=0, help_text="The last one counted, since 1970.")
    recent = ArrayField(
        models.PositiveIntegerField(), default=no_seconds, help_text="Of each second up to that one."
    )
    day = models.DateTimeField(help_text="The day that is counted, from midnight UTC.")
    day_used = models.PositiveIntegerField()

    class Meta:
        db_table = "executions_clientusage"

    def __str__(self) -> str:
        return f"{self.client}: {sum(self.recent)} up to {self.second}, {self.day_used} on {self.day:%Y-%m-%d}"
