from django.db import models

from clients.models.client import Client


class ClientStorage(models.Model):
    """Bytes that a client's history holds, but for the changes since it was last added up."""

    client = models.OneToOneField(Client, on_delete=models.CASCADE, primary_key=True, related_name="storage")
    bytes = models.BigIntegerField()

    class Meta:
        db_table = "executions_clientstorage"

    def __str__(self) -> str:
        return f"{self.client}: {self.bytes} bytes"


class StorageChange(models.Model):
    """What one statement added to a client's history, or removed from it. Triggers of executions insert it.

    A counter in one row would have all runs of a client wait for each other's commit. There is no foreign key: it
    would cost each run a lock on its client.
    """

    client_id = models.BigIntegerField()
    bytes = models.BigIntegerField()

    class Meta:
        db_table = "executions_storagechange"
        indexes = [models.Index(fields=["client_id"], name="storage_change_client_idx")]

    def __str__(self) -> str:
        return f"client {self.client_id}: {self.bytes:+} bytes"
