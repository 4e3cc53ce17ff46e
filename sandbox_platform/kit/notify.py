"""Postgres LISTEN/NOTIFY, by which the processes wake each other instead of polling.

A notification is only a hint; the rows are the truth. A process that is woken reads the rows, and a process that waits
reads them again after a while, because a notification sent while the connection was down is lost.
"""

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple

import psycopg
from django.db import connection

QUEUED = "execution_queued"  # no payload: a task is in the queue
CALLBACK_QUEUED = "callback_queued"  # no payload: a task is in the callbacks' queue
BUILD_QUEUED = "build_queued"  # no payload: a task is in the builder's queue
FINISHED = "execution_finished"  # execution id
PROGRESS = "execution_progress"  # execution id: it started to run, or has new output
WATCHED = "execution_watched"  # execution id: somebody watches its output
CANCEL = "execution_cancel"  # execution id
IMAGE_ASKED = "image_asked"  # JSON: an image, and the channel for the answer; see sandboxes.images
CALLBACK = "callback_due"  # no payload: a delivery is due
# Payload: CLAIMED or WAITS, followed by the runtime's id, the network and the execution's id, separated by colons;
# USED; READY; or "" for any other change.
POOL = "sandbox_pool"
CLAIMED = "claimed:"
WAITS = "waits:"
USED = "used"
READY = "ready"


def ready_channel(execution_id: object) -> str:
    """Return the channel of an execution that waits for a sandbox. One channel for all would wake every worker."""
    return f"sandbox_ready_{str(execution_id).replace('-', '')}"


class Notification(NamedTuple):
    channel: str
    payload: str


def notify(channel: str, payload: str = "") -> None:
    """Send a notification when the current transaction commits."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [channel, payload])


@contextmanager
def listening(channel: str) -> Iterator[Callable[[float], list[Notification]]]:
    """Listen on Django's own connection, outside transactions.

    Yields a function that waits at most the given seconds for a notification and returns those that arrived.
    """

    def wait(timeout: float) -> list[Notification]:
        generator = connection.connection.notifies(timeout=timeout, stop_after=1)
        return [Notification(n.channel, n.payload) for n in generator]

    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {channel}")
    try:
        yield wait
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"UNLISTEN {channel}")


class Listener:
    """A dedicated connection that listens. Raises psycopg.OperationalError when the connection breaks."""

    def __init__(self, *channels: str) -> None:
        params: dict[str, Any] = connection.get_connection_params()
        params.pop("pool", None)
        params.pop("cursor_factory", None)
        self.connection = psycopg.connect(**params, autocommit=True)
        for channel in channels:
            self.connection.execute(f"LISTEN {channel}".encode())

    def fileno(self) -> int:
        return self.connection.fileno()

    def wait(self, timeout: float) -> list[Notification]:
        """Return the notifications that arrived. Waits at most `timeout` seconds for the first; [] if none came."""
        pending = self._pending()
        if not pending and select.select([self.connection.fileno()], [], [], timeout)[0]:
            pending = self._pending()
        return pending

    def _pending(self) -> list[Notification]:
        return [Notification(n.channel, n.payload) for n in self.connection.notifies(timeout=0)]

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> "Listener":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()
