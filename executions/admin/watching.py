"""The events of one execution, for a person who is logged in. The API's clients have /api/v1/…/events.

Output comes divided by its colours, as the page of an ended one shows it. Which colour was on where a lost
connection ended, nobody has kept: so whoever comes back is told all of it from the beginning.
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

    def _told(self, stream: str, text: str) -> dict[str, Any]:
        return {"pieces": self._painters[stream].paint(text)}


def stream(request: HttpRequest, execution_id: UUID) -> HttpResponseBase:
    """Whoever asks has been let in already."""
    try:
        seen = Position.parse(request.headers.get("Last-Event-ID", "").strip())
    except ValueError:
        seen = Position()
    if seen.phase == Phase.CLOSED:
        return HttpResponse(status=204)
    # Places are counted by client; people are the negative numbers.
    watcher = -(request.user.pk or 0)
    try:
        return respond(PaintedEvents(execution_id, socket_of(request)), watcher)
    except TooManyStreams as e:
        return HttpResponse(e.detail, status=503, headers={"Retry-After": str(e.retry_after_s)})
