"""Liveness of processes: every keeper and every cluster of workers holds a Postgres advisory lock for its node.

Postgres releases the lock with the session, so a killed process counts as dead at once, and no clock is involved.
"""

import zlib

import psycopg
from django.db import connection

from sandbox_platform.kit.prepared import prepared

KEEPER = 7385001
WORKER = 7385002
CALLBACKS = 7385003
ANY_NODE = ""


def _key(node: str) -> int:
    return zlib.crc32(node.encode()) - 2**31


def hold_keeper(session: psycopg.Connection, node: str) -> None:
    """Take the keeper's lock of this node. Blocks while another keeper of the node is alive."""
    session.execute("SELECT pg_advisory_lock(%s, %s)", [KEEPER, _key(node)])


def hold_worker(session: psycopg.Connection, node: str) -> None:
    session.execute("SELECT pg_advisory_lock_shared(%s, %s)", [WORKER, _key(node)])


def hold_callbacks(session: psycopg.Connection) -> None:
    session.execute("SELECT pg_advisory_lock_shared(%s, %s)", [CALLBACKS, _key(ANY_NODE)])


def keeper_alive(node: str) -> bool:
    return _holders(KEEPER, node) > 0


def keepers_alive() -> int:
    """Return how many keepers are alive, which is the number of nodes with one."""
    return _holders(KEEPER)


def workers_alive(node: str) -> int:
    """Return how many worker clusters of this node are alive. Their processes are not counted."""
    return _holders(WORKER, node)


def callbacks_alive() -> int:
    """Return how many clusters that deliver callbacks are alive, on any node."""
    return _holders(CALLBACKS, ANY_NODE)


def _holders(kind: int, node: str | None = None) -> int:
    """Count the sessions that hold locks of this kind, for one node or for all."""
    with prepared(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2"
            " AND classid::bigint = %s AND objid::bigint = coalesce(%s, objid::bigint)"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [kind, None if node is None else _key(node) % 2**32],
        )
        return int(cursor.fetchone()[0])
