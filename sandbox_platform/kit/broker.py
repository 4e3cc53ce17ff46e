"""django-q2's queue in Postgres, woken by NOTIFY where the stock broker polls."""

import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import OperationalError, close_old_connections, connection
from django.db.utils import InterfaceError
from django_q.brokers.orm import ORM

from sandbox_platform.kit import liveness
from sandbox_platform.kit.heartbeat import Heartbeat
from sandbox_platform.kit.notify import BUILD_QUEUED, CALLBACK_QUEUED, QUEUED, Listener
from sandbox_platform.kit.prepared import prepared

logger = logging.getLogger(__name__)

# The queue of the workers; see QUEUES for the others.
RUNS = str(settings.Q_CLUSTER["name"])
WAIT_S = 1.0  # the pusher checks its stop event between two waits
RECONNECT_S = 0.5

# Client id of tasks without a client: the platform's own, and those of callers without a token. They take turns with
# the clients as if they belonged to one.
NOBODY = 0

PUT = """
    WITH queued AS (
        INSERT INTO django_q_ormq (key, payload, lock, client_id, execution_id)
        VALUES (%s, %s, now(), %s, %s) RETURNING id
    )
    SELECT id, pg_notify(%s, '') FROM queued
"""
# The turn goes to the client with the fewest running executions, then to the client served longest ago (a task taken
# a moment ago is not marked as running yet), then to the client that has waited longest.
# The query skips through the index from each client's first task to the next client's, and reads only the first FEW
# tasks of the first FEW clients, so ten thousand tasks take as long as ten. It reads FEW and not one, because other
# nodes may be about to take the first. It sorts before it locks, so it locks only the task it takes.
# A node that is being drained takes nothing, and once the drain is committed no statement takes anything for it. `node`
# is "" for the other queues, whose clusters belong to no node.
# BETWEEN instead of = keeps the planner from walking the primary key, through the tasks of all clients.
TAKE = """
    WITH RECURSIVE client AS (
        (SELECT client_id, id FROM django_q_ormq WHERE key = %(key)s ORDER BY client_id, id LIMIT 1)
        UNION ALL
        SELECT following.* FROM client CROSS JOIN LATERAL (
            SELECT client_id, id FROM django_q_ormq WHERE key = %(key)s AND client_id > client.client_id
            ORDER BY client_id, id LIMIT 1
        ) following
    ), running AS (
        SELECT COALESCE(client_id, 0) AS client_id, count(*) AS number
        FROM executions_execution WHERE status = 'running' GROUP BY 1
    ), next_client AS (
        SELECT
            client_id,
            COALESCE(running.number, 0) AS running,
            COALESCE(array_position(%(served)s::bigint[], client_id), 0) AS served
        FROM client LEFT JOIN running USING (client_id)
        ORDER BY running, served, client.id LIMIT %(few)s
    ), next AS (
        SELECT first.id, served, running + row_number() OVER (PARTITION BY client_id ORDER BY first.id) AS turn
        FROM next_client CROSS JOIN LATERAL (
            SELECT q.id FROM django_q_ormq q
            WHERE q.key = %(key)s AND q.client_id BETWEEN next_client.client_id AND next_client.client_id
            AND q.lock <= now()
            ORDER BY q.client_id, q.id LIMIT %(few)s
        ) first
    )
    DELETE FROM django_q_ormq WHERE id = (
        SELECT q.id FROM next JOIN django_q_ormq q ON q.id = next.id
        ORDER BY next.turn, next.served, q.id LIMIT 1 FOR UPDATE OF q SKIP LOCKED
    ) AND NOT EXISTS (SELECT FROM sandboxes_node WHERE name = %(node)s AND draining)
    RETURNING id, payload, client_id
"""
FEW = 8
SERVED = 100


class Queue(NamedTuple):
    """A queue with the cluster that takes from it.

    `channel`: of its notifications, so that a task wakes no other cluster. `service`: whose heart beats. `of_node`:
    whether a node that is drained takes nothing. `hold`: takes the cluster's lock.
    """

    channel: str
    service: str
    of_node: bool
    hold: Callable[[psycopg.Connection], None]


def _hold_worker(session: psycopg.Connection) -> None:
    liveness.hold_worker(session, settings.SANDBOX_NODE)


OF_WORKERS = Queue(QUEUED, "worker", True, _hold_worker)
QUEUES = {
    RUNS: OF_WORKERS,
    settings.CALLBACK_CLUSTER: Queue(CALLBACK_QUEUED, "callbacks", False, liveness.hold_callbacks),
    settings.BUILD_CLUSTER: Queue(BUILD_QUEUED, "builder", False, liveness.hold_builder),
}


class Workers(Protocol):
    """The worker processes of this cluster, as the broker sees them."""

    def reserve(self, timeout: float) -> bool:
        """Reserve an idle worker for the next task. Return False if none became idle within `timeout` seconds."""

    def give_back(self) -> None:
        """Release the reserved worker: it gets no task."""


class NotifyBroker(ORM):  # type: ignore[misc]
    """A broker that delivers each task at most once: taking a task deletes it.

    Work that is lost with a worker is found by its Execution rows (see executions.reaper); it is not delivered again.
    """

    def __init__(
        self,
        list_key: str | None = None,
        *,
        client_id: int | None = None,
        execution_id: UUID | None = None,
        workers: Workers | None = None,
    ) -> None:
        super().__init__(list_key)
        self._client_id = client_id or NOBODY
        self._execution_id = execution_id
        self._workers = workers
        self._served: list[int] = []  # ids of clients, the last served at the end
        self._listener: Listener | None = None
        self._queue = QUEUES.get(self.list_key, OF_WORKERS)
        self._heart = Heartbeat(self._queue.service)

    def enqueue(self, task: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(PUT, [self.list_key, task, self._client_id, self._execution_id, self._queue.channel])
            return cursor.fetchone()[0]

    def dequeue(self) -> list[tuple[int, str]] | None:
        """Wait for a free worker, then take the next task and return [(id, payload)].

        Returns [] or None if there is no task or no free worker. A task that was taken earlier could not be overtaken
        by a client whose turn comes meanwhile.
        """
        try:
            # Listen before the first look, or a task that arrives between looking and waiting is missed.
            listener = self._listen()
            self._heart.beat()
            if self._workers is None:
                return self._dequeue(listener)
            if self._workers.reserve(WAIT_S):
                return self._dequeue_for_worker(self._workers, listener)
            # Unread notifications would pile up in Postgres, and a lost connection would go unnoticed.
            listener.wait(0)
        except (OperationalError, InterfaceError, psycopg.Error) as e:
            # An exception would stop the pusher for ten seconds. Postgres is usually back sooner.
            logger.warning("queue: lost the connection to Postgres (%s), reconnecting", type(e).__name__)
            self._listener = None
            connection.close()
            time.sleep(RECONNECT_S)
        return None

    def _dequeue_for_worker(self, workers: Workers, listener: Listener) -> list[tuple[int, str]]:
        taken = []
        try:
            taken = self._dequeue(listener)
        finally:
            if not taken:
                workers.give_back()
        return taken

    def _dequeue(self, listener: Listener) -> list[tuple[int, str]]:
        taken = self._take()
        if not taken:
            listener.wait(WAIT_S)
            taken = self._take()
        return taken

    def _listen(self) -> Listener:
        if self._listener is None:
            close_old_connections()
            self._listener = Listener(self._queue.channel)
            self._queue.hold(self._listener.connection)
        return self._listener

    def _take(self) -> list[tuple[int, str]]:
        with prepared(), connection.cursor() as cursor:
            node = settings.SANDBOX_NODE if self._queue.of_node else ""
            cursor.execute(TAKE, {"key": self.list_key, "few": FEW, "served": self._served, "node": node})
            taken = cursor.fetchall()
        for _, _, client_id in taken:
            others = [served for served in self._served if served != client_id]
            self._served = [*others, client_id][-SERVED:]
        return [(task_id, payload) for task_id, payload, _ in taken]

    def acknowledge(self, task_id: Any) -> None:
        """Do nothing: taking a task has deleted it."""
