"""Liveness of processes: every keeper and every cluster of workers holds a Postgres advisory lock for its node.

Postgres releases the lock with the session, so a killed process counts as dead at once, and no clock is involved. A
cluster also holds a lock with a key of its own, by which a run finds out whether its cluster survived a restart of
Postgres.
"""

import os
import secrets

import psycopg
from django.db import connection

from sandbox_platform.kit.locks import Lock, node_key
from sandbox_platform.kit.prepared import prepared

ANY_NODE = ""
# The environment variable with the key of the cluster: all its processes inherit it.
CLUSTER_KEY = "SANDBOX_CLUSTER_KEY"


def hold_keeper(session: psycopg.Connection, node: str) -> None:
    """Take the keeper's lock of this node. Blocks while another keeper of the node is alive."""
    session.execute("SELECT pg_advisory_lock(%s, %s)", [Lock.KEEPER, node_key(node)])


def hold_worker(session: psycopg.Connection, node: str) -> None:
    session.execute("SELECT pg_advisory_lock_shared(%s, %s)", [Lock.WORKER, node_key(node)])
    session.execute("SELECT pg_advisory_lock_shared(%s, %s)", [Lock.CLUSTER, cluster_key()])


def begin_cluster() -> None:
    """Give this process and its future children another cluster key."""
    os.environ[CLUSTER_KEY] = str(secrets.randbelow(2**31 - 1) + 1)


def cluster_key() -> int:
    """Return the key of this process's cluster, 0 if it belongs to none."""
    return int(os.environ.get(CLUSTER_KEY, "0"))


def hold_callbacks(session: psycopg.Connection) -> None:
    session.execute("SELECT pg_advisory_lock_shared(%s, %s)", [Lock.CALLBACKS, node_key(ANY_NODE)])


def hold_builder(session: psycopg.Connection) -> None:
    session.execute("SELECT pg_advisory_lock_shared(%s, %s)", [Lock.BUILDER, node_key(ANY_NODE)])


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


def builders_alive() -> int:
    """Return how many clusters that make builds are alive. None is needed where workers make builds."""
    return _holders(Lock.BUILDER, ANY_NODE)


def clusters_alive() -> set[int]:
    """Return the keys of the clusters of workers that are alive, on all nodes."""
    with prepared(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2"
            " AND classid::bigint = %s AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [Lock.CLUSTER],
        )
        return {key for (key,) in cursor.fetchall()}


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
