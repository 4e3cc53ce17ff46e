"""django-q2's queue in Postgres, woken by NOTIFY where the stock broker sleeps and looks."""

import logging
import time
from typing import Any

import psycopg
from django.conf import settings
from django.db import OperationalError, close_old_connections, connection
from django.db.utils import InterfaceError
from django_q.brokers.orm import ORM
from django_q.conf import Conf

from executions import liveness
from executions.notify import CALLBACK_QUEUED, QUEUED, Listener

logger = logging.getLogger(__name__)

WAIT_S = 1.0  # the pusher looks at its stop event between two waits
RECONNECT_S = 0.5

PUT = """
    WITH queued AS (INSERT INTO django_q_ormq (key, payload, lock) VALUES (%s, %s, now()) RETURNING id)
    SELECT id, pg_notify(%s, '') FROM queued
"""
TAKE = """
    DELETE FROM django_q_ormq WHERE id IN (
        SELECT id FROM django_q_ormq WHERE key = %s AND lock <= now()
        ORDER BY id FOR UPDATE SKIP LOCKED LIMIT %s
    ) RETURNING id, payload
"""


class NotifyBroker(ORM):  # type: ignore[misc]
    """A task is delivered at most once: taking it deletes it. Work that got lost with a worker is found by
    the Execution rows it was about (see keeper.reaper), not by delivering it a second time."""

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._listener: Listener | None = None
        self._of_callbacks = self.list_key == settings.CALLBACK_CLUSTER
        # A channel for each queue: no run wakes the cluster that has nothing to do with it.
        self._channel = CALLBACK_QUEUED if self._of_callbacks else QUEUED

    def enqueue(self, task: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(PUT, [self.list_key or Conf.CLUSTER_NAME, task, self._channel])
            return cursor.fetchone()[0]

    def dequeue(self) -> list[tuple[int, str]] | None:
        try:
            # Listening comes first: a task that arrives between looking and waiting is not missed.
            listener = self._listen()
            taken = self._take()
            if not taken:
                listener.wait(WAIT_S)
                taken = self._take()
        except (OperationalError, InterfaceError, psycopg.Error) as e:
            # The pusher would stop for ten seconds; Postgres is usually back sooner.
            logger.warning("queue: Postgres is away (%s)", type(e).__name__)
            self._listener = None
            connection.close()
            time.sleep(RECONNECT_S)
            return None
        return taken

    def _listen(self) -> Listener:
        if self._listener is None:
            close_old_connections()
            self._listener = Listener(self._channel)
            if not self._of_callbacks:
                liveness.hold_worker(self._listener.connection, settings.SANDBOX_NODE)
        return self._listener

    def _take(self) -> list[tuple[int, str]]:
        with connection.cursor() as cursor:
            cursor.execute(TAKE, [self.list_key or Conf.CLUSTER_NAME, Conf.BULK])
            return list(cursor.fetchall())

    def acknowledge(self, task_id: Any) -> None:
        """Taking was acknowledging."""
