"""Waits for executions in a web process, with one LISTEN connection for all requests of the process."""

import logging
import os
import select
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cache

import psycopg
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest

from executions.models import Execution
from sandbox_platform.kit.compiled import Compiled
from sandbox_platform.kit.failures import without_text
from sandbox_platform.kit.notify import FINISHED, PROGRESS, Listener

logger = logging.getLogger(__name__)

# A notification that is sent while the connection is down is lost, so a waiter also polls.
LOOK_AGAIN_S = 5.0
RECONNECT_S = 0.5
# How long a request waits for the LISTEN connection before it relies on polling.
LISTENING_S = 5.0


class GaveUp(Enum):
    """Why a wait ended before the execution did."""

    TIMEOUT = "timeout"
    CALLER_GONE = "caller gone"


class Hub:
    """Wakes the requests of this process that wait for an execution."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Eventfds of the waiters, by channel and execution.
        self._waiting: dict[tuple[str, str], set[int]] = {}
        self._thread: threading.Thread | None = None
        self._listening = threading.Event()
        self._pid = 0

    @contextmanager
    def waiter(self, execution_id: uuid.UUID, columns: Sequence[str] = ()) -> Iterator["Waiter"]:
        """Yield a waiter for the execution's end. Enter before the execution is queued, so that nothing is missed.

        `columns`: those that the caller will read of the ended execution; with none, it gets all, and the runtime.
        """
        with self.event([execution_id], FINISHED) as event:
            yield Waiter(execution_id, event, columns)

    @contextmanager
    def event(self, execution_ids: Iterable[uuid.UUID], *channels: str) -> Iterator[int]:
        """Yield an eventfd, readable once a channel has, or may have, announced one of the executions."""
        keys = [(channel, str(execution_id)) for execution_id in execution_ids for channel in channels]
        event = self._register(keys)
        try:
            yield event
        finally:
            with self._lock:
                for key in keys:
                    events = self._waiting.get(key, set())
                    events.discard(event)
                    if not events:
                        self._waiting.pop(key, None)
                os.close(event)

    def _register(self, keys: list[tuple[str, str]]) -> int:
        with self._lock:
            if self._pid != os.getpid():  # gunicorn forks after import
                self._pid, self._waiting, self._thread = os.getpid(), {}, None
            if self._thread is None or not self._thread.is_alive():
                self._listening = threading.Event()
                self._thread = threading.Thread(target=self._listen, name="hub", daemon=True)
                self._thread.start()
            listening = self._listening
            event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            for key in keys:
                self._waiting.setdefault(key, set()).add(event)
        listening.wait(LISTENING_S)
        return event

    def _listen(self) -> None:
        while True:
            try:
                self._forward_notifications()
            except psycopg.Error:
                pass  # Postgres restarts
            except Exception as e:
                # The thread's outermost frame: an error here would leave all requests of this process waiting.
                logger.error("waiting: %s", without_text(e))
            self._wake_all()
            time.sleep(RECONNECT_S)

    def _forward_notifications(self) -> None:
        """Wake waiters for each notification, until the connection breaks."""
        with Listener(FINISHED, PROGRESS) as listener:
            connection.close()
            # Notifications before the LISTEN are lost: make every waiter poll.
            self._wake_all()
            self._listening.set()
            while True:
                for notification in listener.wait(60):
                    self._wake(notification.channel, notification.payload)

    def _wake(self, channel: str, execution_id: str) -> None:
        with self._lock:
            for event in self._waiting.get((channel, execution_id), ()):
                os.eventfd_write(event, 1)

    def _wake_all(self) -> None:
        with self._lock:
            for events in self._waiting.values():
                for event in events:
                    os.eventfd_write(event, 1)


hub = Hub()


def has_left(caller: socket.socket | None) -> bool:
    """Whether the other end of the client's socket has closed it."""
    if caller is None:
        return False
    poll = select.poll()
    poll.register(caller, select.POLLRDHUP)
    return bool(poll.poll(0))


def gives_up(http: HttpRequest) -> Callable[[], bool]:
    """Return what tells whether to wait no more for a place: the caller has left, or waited as long as a queued run."""
    until = time.monotonic() + settings.SANDBOX_QUEUE_TIMEOUT_MS / 1000
    caller = http.META.get("gunicorn.socket")
    return lambda: time.monotonic() > until or has_left(caller)


@cache
def _ended(columns: tuple[str, ...]) -> Compiled[Execution]:
    rows = Execution.objects.only(*columns) if columns else Execution.objects.select_related("runtime")
    return Compiled(lambda pk: rows.filter(pk=pk), pk=uuid.UUID(int=0))


@dataclass(frozen=True)
class Waiter:
    execution_id: uuid.UUID
    event: int  # an eventfd, readable when the execution may have ended
    columns: Sequence[str] = ()

    def wait(
        self, *, timeout_s: float, caller: socket.socket | None = None, look_first: bool = False
    ) -> Execution | GaveUp:
        """Block until the execution has ended; return it, or why the wait ended without it.

        Holds no database connection while it blocks. `caller` is the client's socket, watched for a disconnect.
        `look_first` polls at once, for an execution that may have ended before this waiter existed.
        """
        connection.close()  # return it to the pool
        deadline = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(self.event, select.POLLIN)
        if caller is not None:
            poll.register(caller, select.POLLRDHUP)
        pause = 0.0 if look_first else LOOK_AGAIN_S
        while (left := deadline - time.monotonic()) > 0:
            ready = dict(poll.poll(min(left, pause) * 1000))
            if self.event in ready:
                os.eventfd_read(self.event)
            elif ready:
                return GaveUp.CALLER_GONE
            pause = LOOK_AGAIN_S
            try:
                execution = self._execution()
                if execution.is_finished:
                    return execution
            except (OperationalError, InterfaceError):
                # Postgres restarts. The run continues meanwhile, and its result will be stored.
                pause = RECONNECT_S
            connection.close()
        return GaveUp.TIMEOUT

    def _execution(self) -> Execution:
        for execution in _ended(tuple(self.columns))(pk=self.execution_id):
            return execution
        raise Execution.DoesNotExist(f"execution {self.execution_id} was purged")
