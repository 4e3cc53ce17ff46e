from django.contrib.postgres.fields import ArrayField
from django.db import models

from clients.models.client import Client

# 61 instead of 60: the partial seconds at both ends count whole, so that no 60 seconds contain more than allowed.
SECONDS = 61


def no_seconds() -> list[int]:
    return [0] * SECONDS


class ClientUsage(models.Model):
    """Executions counted for a client in the last minute and on the current day. Only clients with a quota have a row.

    The row lock also serialises counting across processes and nodes: see clients.admission.
    """

    client = models.OneToOneField(Client, on_delete=models.CASCADE, primary_key=True, related_name="usage")
    second = models.BigIntegerField(default=0, help_text="The last second counted, since 1970.")
    recent = ArrayField(
        models.PositiveIntegerField(), default=no_seconds, help_text="Executions in each of the last 61 seconds."
    )
    day = models.DateTimeField(help_text="Midnight UTC of the day that is counted.")
    day_used = models.PositiveIntegerField()

    class Meta:
        db_table = "executions_clientusage"

    def __str__(self) -> str:
        return f"{self.client}: {sum(self.recent)} up to {self.second}, {self.day_used} on {self.day:%Y-%m-%d}"
