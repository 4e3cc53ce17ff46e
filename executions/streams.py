"""Caps the event streams of a web process, and implements the body of their responses."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, StreamingHttpResponse

from executions.event_stream import Events
from sandbox_platform.kit.errors import NotAvailable

# Each stream occupies one of the 128 threads of its web process until the execution ends. The other threads are
# reserved for other requests.
STREAMS_PER_PROCESS = 48
STREAMS_PER_CLIENT = 24
RETRY_AFTER_S = 5
# A watcher who does not read occupies a thread for at most this long.
SEND_TIMEOUT_S = 30.0


class Places:
    """Counts this process's open streams, by client."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Counter[int | None] = Counter()

    def take(self, client_id: int | None) -> bool:
        with self._lock:
            free = self._held.total() < STREAMS_PER_PROCESS and self._held[client_id] < STREAMS_PER_CLIENT
            self._held[client_id] += free
        return free

    def give_back(self, client_id: int | None) -> None:
        with self._lock:
            self._held[client_id] -= 1
            if not self._held[client_id]:
                del self._held[client_id]


places = Places()


class Stream:
    """The body of a response. A generator would not do: its `finally` never runs if it is closed before it starts."""

    def __init__(self, events: Events, client_id: int | None) -> None:
        self._events = iter(events)
        self._client_id = client_id
        self._open = True

    def __iter__(self) -> Iterator[bytes]:
        return self._events

    def close(self) -> None:
        if self._open:
            self._open = False
            self._events.close()
            places.give_back(self._client_id)


class TooManyStreams(NotAvailable):
    def __init__(self) -> None:
        super().__init__(
            "Too many event streams are open.",
            remedy="Close a stream, or poll the execution instead.",
            code="too_many_streams",
            retry_after_s=RETRY_AFTER_S,
        )


def respond(events: Events, watcher: int | None) -> StreamingHttpResponse:
    """Return the response that streams the events. Raises TooManyStreams.

    `watcher`: the client's id, by which streams are counted; None for a caller without a token.
    """
    if not places.take(watcher):
        raise TooManyStreams
    return StreamingHttpResponse(
        Stream(events, watcher),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def socket_of(http: HttpRequest) -> Any:
    caller = http.META.get("gunicorn.socket")
    if caller is not None:
        caller.settimeout(SEND_TIMEOUT_S)
    return caller
