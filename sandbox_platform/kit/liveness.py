"""Liveness of processes: every keeper and every cluster of workers holds a Postgres advisory lock for its node.

Postgres releases the lock with the session, so a killed process counts as dead at once, and no clock is involved.
"""

import psycopg
from django.db import connection

from sandbox_platform.kit.locks import Lock, node_key
from sandbox_platform.kit.prepared import prepared

ANY_NODE = ""


def hold_keeper(session: psycopg.Connection, node: str) -> None:
    """Take the keeper's lock of this node. Blocks while another keeper of the node is alive."""
    session.execute("SELECT pg_advisory_lock(%s, %s)", [Lock.KEEPER, node_key(node)])


def hold_worker(session: psycopg.Connection, node: str) -> None:
    session.execute("SELECT pg_advisory_lock_shared(%s, %s)", [Lock.WORKER, node_key(node)])


def hold_callbacks(session: psycopg.Connection) -> None:
    session.execute("SELECT pg_advisory_lock_shared(%s, %s)", [Lock.CALLBACKS, node_key(ANY_NODE)])


def keeper_alive(node: str) -> bool:
    return _holders(Lock.KEEPER, node) > 0


def keepers_alive() -> int:
    """Return how many keepers are alive, which is the number of nodes with one."""
    return _holders(Lock.KEEPER)


def workers_alive(node: str) -> int:
    """Return how many worker clusters of this node are alive. Their processes are not counted."""
    return _holders(Lock.WORKER, node)


def callbacks_alive() -> int:
    """Return how many clusters that deliver callbacks are alive, on any node."""
    return _holders(Lock.CALLBACKS, ANY_NODE)


def _holders(lock: Lock, node: str | None = None) -> int:
    """Count the sessions that hold this lock, for one node or for all."""
    with prepared(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2"
            " AND classid::bigint = %s AND objid::bigint = coalesce(%s, objid::bigint)"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [lock, None if node is None else node_key(node) % 2**32],
        )
        return int(cursor.fetchone()[0])
