"""How many bytes each client's history holds: see executions/storage.py for what is counted."""

from django.db import connection, transaction

from clients.models import Client
from sandbox_platform.kit.locks import Lock
from sandbox_platform.kit.prepared import prepared

STORED = """
    SELECT coalesce((SELECT bytes FROM executions_clientstorage WHERE client_id = %s), 0)
        + coalesce((SELECT sum(bytes) FROM executions_storagechange WHERE client_id = %s), 0)::bigint
"""
ADD_UP = """
    WITH added AS (DELETE FROM executions_storagechange RETURNING client_id, bytes)
    INSERT INTO executions_clientstorage AS s (client_id, bytes)
    SELECT c.id, sum(added.bytes) FROM added JOIN executions_client c ON c.id = added.client_id GROUP BY c.id
    ON CONFLICT (client_id) DO UPDATE SET bytes = s.bytes + EXCLUDED.bytes
"""


def stored_bytes(client: Client) -> int:
    """Return the bytes of the client's history, as of the last commit."""
    with prepared(), connection.cursor() as cursor:
        cursor.execute(STORED, [client.pk, client.pk])
        return int(cursor.fetchone()[0])


def add_up() -> int:
    """Add the changes up, so that few are left to read; return the number of clients."""
    with transaction.atomic(), connection.cursor() as cursor:
        # Against a recount, whose total would otherwise replace what is added meanwhile.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [Lock.STORAGE])
        cursor.execute(ADD_UP)
        return int(cursor.rowcount)
