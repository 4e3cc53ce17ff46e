"""The event stream of one execution for the admin. Clients of the API use /api/v1/…/events.

Output is sent in coloured pieces, as the page of an ended execution shows it. The colour at the point where a
connection broke is not stored, so a reconnecting browser gets all output from the beginning.
"""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from executions.admin.ansi import Painter
from executions.event_stream import STREAMS, Events, Phase, Position
from executions.streams import TooManyStreams, respond, socket_of


class PaintedEvents(Events):
    def __init__(self, execution_id: UUID, caller: Any = None) -> None:
        super().__init__(execution_id, Position(), caller)
        self._painters = {name: Painter() for name in STREAMS}

    def _output_data(self, stream: str, text: str) -> dict[str, Any]:
        return {"pieces": self._painters[stream].paint(text)}


def stream(request: HttpRequest, execution_id: UUID) -> HttpResponseBase:
    """Return the stream's response. The caller has checked the permission."""
    try:
        seen = Position.parse(request.headers.get("Last-Event-ID", "").strip())
    except ValueError:
        seen = Position()
    if seen.phase == Phase.CLOSED:
        return HttpResponse(status=204)
    # Places are counted by client id; people get negative numbers.
    watcher = -(request.user.pk or 0)
    try:
        return respond(PaintedEvents(execution_id, socket_of(request)), watcher)
    except TooManyStreams as e:
        return HttpResponse(e.detail, status=503, headers={"Retry-After": str(e.retry_after_s)})
