"""How many event streams a web process serves at the same time, and the body of one."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, StreamingHttpResponse

from executions.event_stream import Events
from sandbox_platform.kit.errors import NotAvailable

# Each stream holds one of the 128 threads of its web process, for as long as the execution takes: the others are
# for those who run something.
STREAMS_PER_PROCESS = 48
STREAMS_PER_CLIENT = 24
RETRY_AFTER_S = 5
# A watcher who does not read holds a thread up to this long.
SEND_TIMEOUT_S = 30.0


class Places:
    """Who holds how many streams of this process."""

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
    """The response's body. Not a generator, whose `finally` never runs if it was closed before its first event."""

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
            remedy="Close one, or ask for the execution itself now and then.",
            code="too_many_streams",
            retry_after_s=RETRY_AFTER_S,
        )


def respond(events: Events, watcher: int | None) -> StreamingHttpResponse:
    """The response that tells the events. Raises TooManyStreams.

    `watcher`: by whom places are counted, a client's id or None.
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
