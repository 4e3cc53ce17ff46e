"""django-q2's queue in Postgres, woken by NOTIFY where the stock broker sleeps and looks."""

import logging
import time
from typing import Any, Protocol
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import OperationalError, close_old_connections, connection
from django.db.utils import InterfaceError
from django_q.brokers.orm import ORM
from django_q.conf import Conf

from sandbox_platform.kit import liveness
from sandbox_platform.kit.notify import CALLBACK_QUEUED, QUEUED, Listener
from sandbox_platform.kit.prepared import prepared

logger = logging.getLogger(__name__)

WAIT_S = 1.0  # the pusher looks at its stop event between two waits
RECONNECT_S = 0.5

# Tasks of nobody: of callers without a token, and of the platform itself. Nobody is a client like any other.
NOBODY = 0

PUT = """
    WITH queued AS (
        INSERT INTO django_q_ormq (key, payload, lock, client_id, execution_id)
        VALUES (%s, %s, now(), %s, %s) RETURNING id
    )
    SELECT id, pg_notify(%s, '') FROM queued
"""
# Whose turn it is: the client that has the fewest executions running, then who was served longest ago (what was
# taken a moment ago is not marked as running yet), then who has waited longest.
# The clients are found by skipping through the index from each one's first task to the next one's, and only the
# first few tasks of the first few clients are looked at, so it takes as long for ten thousand tasks as for ten.
# The first few and not the first, because other nodes may be about to take those. Only what is taken is locked:
# the sorting comes before the locking. BETWEEN, not =, keeps the planner from walking the primary key instead,
# through everybody's tasks.
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
    ) RETURNING id, payload, client_id
"""
FEW = 8
SERVED = 100


class Workers(Protocol):
    """The worker processes of this cluster, as far as who takes tasks for them must know."""

    def reserve(self, timeout: float) -> bool:
        """One that has nothing to do and no task on its way; False if there was none in time."""

    def give_back(self) -> None:
        """The reserved one gets no task."""


class NotifyBroker(ORM):  # type: ignore[misc]
    """A task is delivered at most once: taking it deletes it. Work that got lost with a worker is found by
    the Execution rows it was about (see keeper.reaper), not by delivering it a second time."""

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
        self._served: list[int] = []  # clients, the latest at the end
        self._listener: Listener | None = None
        self._of_callbacks = self.list_key == settings.CALLBACK_CLUSTER
        # A channel for each queue: no run wakes the cluster that has nothing to do with it.
        self._channel = CALLBACK_QUEUED if self._of_callbacks else QUEUED

    def enqueue(self, task: str) -> Any:
        with connection.cursor() as cursor:
            key = self.list_key or Conf.CLUSTER_NAME
            cursor.execute(PUT, [key, task, self._client_id, self._execution_id, self._channel])
            return cursor.fetchone()[0]

    def dequeue(self) -> list[tuple[int, str]] | None:
        """The next task, once a worker is free for it. Taken earlier, it could not be overtaken by a client whose
        turn comes meanwhile."""
        try:
            # Listening comes first: a task that arrives between looking and waiting is not missed.
            listener = self._listen()
            if self._workers is None:
                return self._dequeue(listener)
            if self._workers.reserve(WAIT_S):
                return self._dequeue_for_worker(self._workers, listener)
            # Left unread, notifications would pile up in Postgres; and a lost connection would go unnoticed.
            listener.wait(0)
        except (OperationalError, InterfaceError, psycopg.Error) as e:
            # The pusher would stop for ten seconds; Postgres is usually back sooner.
            logger.warning("queue: Postgres is away (%s)", type(e).__name__)
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
            self._listener = Listener(self._channel)
            if self._of_callbacks:
                liveness.hold_callbacks(self._listener.connection)
            else:
                liveness.hold_worker(self._listener.connection, settings.SANDBOX_NODE)
        return self._listener

    def _take(self) -> list[tuple[int, str]]:
        with prepared(), connection.cursor() as cursor:
            key = self.list_key or Conf.CLUSTER_NAME
            cursor.execute(TAKE, {"key": key, "few": FEW, "served": self._served})
            taken = cursor.fetchall()
        for _, _, client_id in taken:
            others = [served for served in self._served if served != client_id]
            self._served = [*others, client_id][-SERVED:]
        return [(task_id, payload) for task_id, payload, _ in taken]

    def acknowledge(self, task_id: Any) -> None:
        """Taking was acknowledging."""

    def fail(self, task_id: Any) -> None:
        """What was taken is no task of ours."""
        if self._workers:
            self._workers.give_back()
