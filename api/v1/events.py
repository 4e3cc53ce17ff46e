"""GET /api/v1/executions/{id}/events: one execution, watched while it runs or told again afterwards."""

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
                (200, "text/event-stream"): EventSchema,
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
        return respond(Events(execution_id, position, socket_of(request._request)), client_id)


def position_of(request: Request) -> Position:
    last = request.headers.get("Last-Event-ID", "").strip()
    try:
        return Position.parse(last) if last else Position()
    except ValueError as e:
        remedy = "Send an id as this stream gave it, or none to begin anew."
        raise Invalid("Last-Event-ID", "This is not an event's id.", remedy) from e
