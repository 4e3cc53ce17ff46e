"""Caps the event streams of a web process (see places.py), and implements the body of their responses."""

from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, StreamingHttpResponse

from executions import places
from executions.event_stream import Events
from sandbox_platform.kit.errors import NotAvailable
from sandbox_platform.kit.web import waits

RETRY_AFTER_S = 5
# A watcher who does not read occupies a thread for at most this long.
SEND_TIMEOUT_S = 30.0


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
            places.streams.give_back(self._client_id)


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
    if not places.streams.take(watcher):
        raise TooManyStreams
    waits.begun()
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
