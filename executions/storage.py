"""What a client's history holds, counted from scratch.

Triggers count each change (migrations/storage.sql), and clients/storage.py reads their sum. Counted are the bytes of
programs, input, output, messages and files, as their owners know them, though Postgres compresses some of them; and a
flat number for each row, because many small runs take space, too.
"""

from django.db import connection, transaction

from clients.models import ClientStorage
from sandbox_platform.kit.locks import Lock

PER_EXECUTION, PER_FILE = 1024, 256
_TEXTS = ("code", "arguments", "stdin", "message", "stdout", "stderr")
_VALUES = ("argv", "variables", "labels", "policy_violations")
_LENGTHS = " + ".join(
    [f"octet_length({name})" for name in _TEXTS]
    + [f"octet_length({name}::text)" for name in _VALUES]
    + ["coalesce(octet_length(result), 0)"]
)
RECOUNT = f"""
    WITH counted AS (
        SELECT client_id, sum(bytes) AS bytes FROM (
            SELECT client_id, {PER_EXECUTION} + {_LENGTHS} AS bytes FROM executions_execution
            UNION ALL
            SELECT e.client_id, {PER_FILE} + octet_length(f.content) FROM executions_inputfile f
                JOIN executions_execution e ON e.id = f.execution_id
            UNION ALL
            SELECT e.client_id, {PER_FILE} + octet_length(f.content) FROM executions_artifact f
                JOIN executions_execution e ON e.id = f.execution_id
        ) part GROUP BY client_id
    ), included AS (DELETE FROM executions_storagechange)
    INSERT INTO executions_clientstorage (client_id, bytes)
    SELECT c.id, coalesce(counted.bytes, 0) FROM executions_client c LEFT JOIN counted ON counted.client_id = c.id
    ON CONFLICT (client_id) DO UPDATE SET bytes = EXCLUDED.bytes
"""  # noqa: S608


def recount() -> dict[str, int]:
    """Count what each client stores, also while programs run; return it by the client's name."""
    with transaction.atomic(), connection.cursor() as cursor:
        # One statement sees all rows as of one moment. A change that commits meanwhile stays to be added.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [Lock.STORAGE])
        cursor.execute(RECOUNT)
    return dict(ClientStorage.objects.order_by("client__name").values_list("client__name", "bytes"))
