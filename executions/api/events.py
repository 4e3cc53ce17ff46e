"""GET /api/v1/executions/{id}/events: one execution, watched while it runs or told again afterwards."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request

from executions.api import schema
from executions.api.base import ApiView
from executions.api.event_stream import ID, Events, Phase, Position
from executions.api.problems import Invalid, Problem

# Each stream holds one of the 128 threads of its web process, for as long as the execution takes: the others are
# for those who run something.
STREAMS_PER_PROCESS = 48
STREAMS_PER_CLIENT = 24
RETRY_AFTER_S = 5
# A watcher who does not read holds a thread up to this long.
SEND_TIMEOUT_S = 30.0


class TooManyStreams(Problem):
    status_code = 503
    default_code = "too_many_streams"
    wait = RETRY_AFTER_S  # becomes Retry-After

    def __init__(self) -> None:
        remedy = "Close one, or ask for the execution itself now and then."
        super().__init__("Too many event streams are open.", remedy=remedy)


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


class EventsView(ApiView):
    http_method_names = ["get", "options"]

    @extend_schema(
        summary="Watch it",
        operation_id="watch_execution",
        description="Status changes and output as Server-Sent Events, from the beginning or from Last-Event-ID "
        "on, until the end. See docs/events.md.",
        parameters=[
            OpenApiParameter(
                "Last-Event-ID",
                {"type": "string", "pattern": f"^(?:{ID.pattern})?$", "example": "0.0.queued"},
                OpenApiParameter.HEADER,
                description="Resume after it.",
            )
        ],
        responses=schema.answers(
            {
                (200, "text/event-stream"): schema.EventSchema,
                204: OpenApiResponse(
                    description="The end was seen: nothing more will come, and a browser stops asking."
                ),
            },
            404,
            422,
        ),
        tags=["Executions"],
    )
    def get(self, request: Request, execution_id: UUID) -> HttpResponseBase:
        client_id = self.caller.pk if self.caller else None
        if not self.visible().filter(pk=execution_id).exists():
            raise Http404
        position = position_of(request)
        if position.phase == Phase.CLOSED:
            return HttpResponse(status=204)
        if not places.take(client_id):
            raise TooManyStreams
        stream = Stream(Events(execution_id, position, socket_of(request._request)), client_id)
        return StreamingHttpResponse(
            stream,
            content_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )


def position_of(request: Request) -> Position:
    last = request.headers.get("Last-Event-ID", "").strip()
    try:
        return Position.parse(last) if last else Position()
    except ValueError as e:
        remedy = "Send an id as this stream gave it, or none to begin anew."
        raise Invalid("Last-Event-ID", "This is not an event's id.", remedy) from e


def socket_of(http: HttpRequest) -> Any:
    caller = http.META.get("gunicorn.socket")
    if caller is not None:
        caller.settimeout(SEND_TIMEOUT_S)
    return caller
