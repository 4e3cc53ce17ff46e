"""Waits for the end of a run, and tells the caller meanwhile that it goes on.

A run that ends soon is answered with JSON. Otherwise the answer becomes a stream of events: progress, if the request
asked for it, or comments, without which proxies would close the connection.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import mcp_types
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from rest_framework.request import Request

from api.mcp.calls import Pending
from api.mcp.protocol import Message, RequestId, RpcError, encoded, error_of, event, result_of
from executions import places, services, submission
from executions.models import Execution
from executions.streams import socket_of
from executions.waiting import GaveUp, Waiter, hub

# Before the first event, and between two.
PROGRESS_S = 1.0
PROGRESS_EVERY_S = 2.0
KEEP_ALIVE_S = 10.0
# Between two looks of a caller who takes no events.
LOOK_S = 60.0
# For the run of a cancelled request to be stored, and between two looks for it.
APPEARS_S, LOOK_AGAIN_S = 1.0, 0.05
STREAM = "text/event-stream"


class Gone(Exception):
    """The caller has closed the connection."""


def response(answer: dict[str, Any], status: int = 200) -> HttpResponse:
    return HttpResponse(encoded(answer), status=status, content_type="application/json")


def answer(pending: Pending, message: Message, token: RequestId | None, request: Request) -> HttpResponseBase:
    """Return the answer to the request. `message` has no parameters any more: a wait may be long, and they large."""
    execution = pending.execution
    client_id = places.client_id_of(request)
    if execution.is_finished or not pending.wait_s or not places.waits.take(client_id):
        return response(result_of(message, pending.result(execution, request)))
    with ExitStack() as held:
        held.callback(places.waits.give_back, client_id)
        submission.forget(request, execution)
        waiter = held.enter_context(hub.waiter(execution.pk))
        waiting = Waiting(pending, message, token, request, waiter)
        try:
            ended = waiting.step(KEEP_ALIVE_S if token is None else PROGRESS_S)
            if ended is None and STREAM in request.headers.get("Accept", ""):
                socket_of(request._request)
                waiting.holds(held.pop_all())
                return StreamingHttpResponse(
                    waiting,
                    content_type=STREAM,
                    headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
                )
            while ended is None:
                ended = waiting.step(LOOK_S)
        except Gone:
            waiting.abandon()
            return HttpResponse(status=202)  # nobody reads it
    return response(result_of(message, pending.result(ended, request)))


def appeared(find: Callable[[], UUID | None], client_id: int | None) -> UUID | None:
    """Return the run that a notification is about, which may arrive before the run is stored.

    Looks for it again for a moment, if the client has a free place for a request that waits.
    """
    found = find()
    with places.waits.held(client_id) as is_free:
        until = time.monotonic() + APPEARS_S
        while found is None and is_free and time.monotonic() < until:
            connection.close()
            time.sleep(LOOK_AGAIN_S)
            found = find()
    return found


class Waiting:
    """One request's wait; also the body of its response, if that is a stream."""

    def __init__(
        self, pending: Pending, message: Message, token: RequestId | None, request: Request, waiter: Waiter
    ) -> None:
        self._pending, self._message, self._token, self._request = pending, message, token, request
        self._waiter = waiter
        self._began = time.monotonic()
        self._looked = False
        self._is_over = False
        self._held = ExitStack()
        self._events = self._all()

    def holds(self, held: ExitStack) -> None:
        """Take over what is given back when the response is closed."""
        self._held = held

    def step(self, seconds: float) -> Execution | None:
        """Return the run when it has ended, or as it is when the time for it is over; None if neither. Raises Gone."""
        left = self._began + self._pending.wait_s - time.monotonic()
        caller = self._request.META.get("gunicorn.socket")
        done = self._waiter.wait(
            timeout_s=max(min(seconds, left), 0.001), caller=caller, look_first=not self._looked
        )
        self._looked = True
        if done is GaveUp.CALLER_GONE:
            raise Gone
        if done is GaveUp.TIMEOUT:
            if left > seconds:
                return None
            done = Execution.objects.select_related("runtime").get(pk=self._pending.execution.pk)
        done.client = self._pending.execution.client  # avoid a query
        return done

    def abandon(self) -> None:
        """End what nobody waits for any more. Before 2026-07-28, a lost connection means nothing."""
        self._is_over = True
        if self._pending.cancels and self._message.is_modern:
            services.cancel(self._pending.execution.pk)

    def __iter__(self) -> Iterator[bytes]:
        return self._events

    def close(self) -> None:
        self._events.close()
        with self._held:
            if not self._is_over:
                self.abandon()

    def _all(self) -> Generator[bytes, None, None]:
        try:
            ended = None
            while ended is None:
                yield self._still()
                ended = self.step(KEEP_ALIVE_S if self._token is None else PROGRESS_EVERY_S)
            last = event(result_of(self._message, self._pending.result(ended, self._request)))
        except Gone:
            self.abandon()
            return
        except (OperationalError, InterfaceError):
            text = f"The database does not answer. Call get_run with {self._pending.execution.pk} later."
            last = event(error_of(RpcError(mcp_types.INTERNAL_ERROR, text), self._message.id))
        self._is_over = True
        connection.close()  # a slow reader must not hold one of the pool's
        yield last

    def _still(self) -> bytes:
        if self._token is None:
            return b": still here\n\n"
        passed = round(time.monotonic() - self._began, 1)
        status = Execution.objects.filter(pk=self._pending.execution.pk).values_list("status", flat=True).first()
        connection.close()
        params = {"progressToken": self._token, "progress": passed, "message": f"{status}, {passed:.0f} s"}
        return event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
