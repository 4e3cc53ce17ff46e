"""The events of one execution, for a person who is logged in. The API's clients have /api/v1/…/events."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from executions.api.event_stream import Events, Phase, Position
from executions.api.events import RETRY_AFTER_S, Stream, places, socket_of


def stream(request: HttpRequest, execution_id: UUID) -> HttpResponseBase:
    """Whoever asks has been let in already."""
    try:
        position = Position.parse(request.headers.get("Last-Event-ID", "").strip())
    except ValueError:
        position = Position()
    if position.phase == Phase.CLOSED:
        return HttpResponse(status=204)
    # Places are counted by client; people are the negative numbers.
    watcher = -(request.user.pk or 0)
    if not places.take(watcher):
        return HttpResponse(
            "Too many event streams are open.", status=503, headers={"Retry-After": str(RETRY_AFTER_S)}
        )
    return StreamingHttpResponse(
        Stream(Events(execution_id, position, socket_of(request)), watcher),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
