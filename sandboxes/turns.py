"""The order in which waiting runs get warm sandboxes.

The order is that of the queue: the turn goes to the client with the fewest running executions on all nodes, then to the
client served longest ago, then to the execution submitted first. It is computed from rows, so it holds among all
processes and after a crash of any of them.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection

from sandbox_platform.kit.notify import POOL, WAITS
from sandbox_platform.kit.prepared import prepared
from sandboxes.calls import STALE_S, SandboxKind, as_payload

# Client id of runs without a client. They take turns with the clients as if they belonged to one.
NOBODY = 0

# The runs that wait for a sandbox of one kind on one node.
OF_KIND = f"""
    node = %(node)s AND runtime_id = %(runtime)s AND network = %(network)s
    AND seen_at > clock_timestamp() - interval '{STALE_S:g} seconds'
"""  # noqa: S608
# CTEs that give the runs of a CTE `waiting` their places, the first being 1. Sandboxes in use count for their client on
# all nodes. Who was served last is stored by itself: a program may run for a hundredth of a second, and its sandbox
# is gone when the next claim asks.
PLACES = """
    using_them AS (
        SELECT coalesce(e.client_id, 0) AS client_id, count(*) AS number
        FROM executions_sandbox s JOIN executions_execution e ON e.id = s.execution_id
        WHERE s.state = 'claimed' GROUP BY 1
    ), turn AS (
        SELECT execution_id, served_at, coalesce(using_them.number, 0)
            + row_number() OVER (PARTITION BY client_id ORDER BY execution_id) AS number
        FROM waiting LEFT JOIN using_them USING (client_id) LEFT JOIN sandboxes_turn USING (client_id)
    ), place AS (
        SELECT execution_id, row_number() OVER (ORDER BY number, served_at NULLS FIRST, execution_id) AS number
        FROM turn
    )
"""
# A CTE that stores who was served, after a CTE `claimed`. A claim for which nobody had to wait stores nothing, so only
# in a backlog do claims of one client wait for each other's commit: a hundred a second on a disk that takes 10 ms.
SERVED = """
    turned AS (
        INSERT INTO sandboxes_turn (client_id, served_at)
        SELECT %(client)s, clock_timestamp() FROM claimed WHERE EXISTS (SELECT FROM other)
        ON CONFLICT (client_id) DO UPDATE SET served_at = excluded.served_at
    )
"""
WAIT = f"""
    WITH waiting AS (
        INSERT INTO sandboxes_wait (execution_id, client_id, node, runtime_id, network, seen_at)
        VALUES (%(execution)s, %(client)s, %(node)s, %(runtime)s, %(network)s, clock_timestamp())
        ON CONFLICT (execution_id) DO UPDATE SET seen_at = excluded.seen_at, node = excluded.node,
            runtime_id = excluded.runtime_id, network = excluded.network
        RETURNING execution_id
    )
    SELECT pg_notify('{POOL}', %(notice)s) FROM waiting
"""  # noqa: S608
LEAVE = "DELETE FROM sandboxes_wait WHERE execution_id = %s"
DUE = f"""
    WITH waiting AS (SELECT execution_id, client_id FROM sandboxes_wait WHERE {OF_KIND}), {PLACES}
    SELECT execution_id::text FROM place WHERE number <= (
        SELECT count(*) FROM executions_sandbox
        WHERE node = %(node)s AND runtime_id = %(runtime)s AND network = %(network)s AND state = 'ready'
    ) ORDER BY number
"""  # noqa: S608


@dataclass(frozen=True)
class Claimant:
    """A run that needs a sandbox. `requeues` tells it from an earlier attempt to run the same execution."""

    execution_id: UUID
    client_id: int = NOBODY
    requeues: int = 0


def wait(kind: SandboxKind, claimant: Claimant) -> None:
    """Record that the run waits, and tell the keeper. Repeat it every two seconds."""
    notice = f"{WAITS}{as_payload(kind, claimant.execution_id)}"
    values = of_kind(kind) | {"execution": claimant.execution_id, "client": claimant.client_id, "notice": notice}
    with prepared(), connection.cursor() as cursor:
        cursor.execute(WAIT, values)


def leave(execution_id: UUID) -> None:
    """Give up the place of a run that waits no longer. A claim gives it up by itself."""
    with connection.cursor() as cursor:
        cursor.execute(LEAVE, [execution_id])


def due(kind: SandboxKind) -> list[str]:
    """Return the runs whose turn it is: as many as there are ready sandboxes of their kind on this node."""
    with prepared(), connection.cursor() as cursor:
        cursor.execute(DUE, of_kind(kind))
        return [row[0] for row in cursor.fetchall()]


def of_kind(kind: SandboxKind) -> dict[str, Any]:
    """Return the parameters of OF_KIND."""
    runtime, network = kind
    return {"node": settings.SANDBOX_NODE, "runtime": runtime, "network": network}
