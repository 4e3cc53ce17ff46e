"""GET /api/v1/executions/{id}/events: stream an execution's events while it runs, or replay them afterwards."""

from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request

from api.v1 import schema
from api.v1.answers import EventSchema
from api.v1.base import ApiView
from api.v1.problems import Invalid
from executions.event_stream import ID, Events, Phase, Position
from executions.streams import respond, socket_of


class EventsView(ApiView):
    http_method_names = ["get", "options"]

    @extend_schema(
        summary="Watch an execution",
        operation_id="watch_execution",
        description="Sends status changes and output as Server-Sent Events, from the beginning or after "
        "Last-Event-ID, until the end. See docs/events.md.",
        parameters=[
            OpenApiParameter(
                "Last-Event-ID",
                {"type": "string", "pattern": f"^(?:{ID.pattern})?$", "example": "0.0.queued"},
                OpenApiParameter.HEADER,
                description="Resume after this event.",
            )
        ],
        responses=schema.answers(
            {
                (200, "text/event-stream"): EventSchema,
                204: OpenApiResponse(
                    description="The client has received the last event. A browser stops reconnecting on 204."
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
        return respond(Events(execution_id, position, socket_of(request._request)), client_id)


def position_of(request: Request) -> Position:
    last = request.headers.get("Last-Event-ID", "").strip()
    try:
        return Position.parse(last) if last else Position()
    except ValueError as e:
        remedy = "Send the id of an event of this stream, or none to start from the beginning."
        raise Invalid("Last-Event-ID", "Not the id of an event.", remedy) from e
