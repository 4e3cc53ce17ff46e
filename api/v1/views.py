"""/api/v1/executions: submit, list, read and cancel executions, and list their requests."""

from contextlib import suppress
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from drf_spectacular.utils import OpenApiRequest, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from api.v1 import schema
from api.v1.answers import EgressRequestSchema, PageSchema, url_of
from api.v1.base import ApiView, FormParser, JsonParser
from api.v1.listing import ListForm, fields_of, parameters
from api.v1.problems import Conflict
from executions import export, places, representation, services, submission
from executions.forms import MultipartForm, SubmissionForm, WaitingForm
from executions.models import Execution, Outcome
from executions.pages import page
from executions.representation import ExecutionSchema
from runtimes.models import Network
from sandbox_platform.kit.fields import validated


def answer(execution: Execution, request: Request, *, created: bool) -> Response:
    """Return the execution with 202 if it has not finished, else with 201 if it is new and 200 if not."""
    status = (201 if created else 200) if execution.is_finished else 202
    headers = {"Location": url_of(execution.pk)}
    return Response(representation.detail(execution, request), status=status, headers=headers)


class ExecutionsView(ApiView):
    parser_classes = [JsonParser, FormParser]

    @extend_schema(
        summary="Submit a program",
        operation_id="submit_execution",
        description="Runs the program in a fresh sandbox. `status` and `outcome`, not the HTTP status, tell its end.",
        request={
            "application/json": SubmissionForm,
            "multipart/form-data": OpenApiRequest(
                MultipartForm, encoding={"execution": {"contentType": "application/json"}}
            ),
        },
        parameters=[schema.IDEMPOTENCY],
        examples=schema.EXAMPLES,
        responses=schema.answers(
            {
                200: OpenApiResponse(
                    ExecutionSchema, "A repeat with the same Idempotency-Key: the first execution, finished."
                ),
                201: OpenApiResponse(ExecutionSchema, "Finished."),
                202: OpenApiResponse(
                    ExecutionSchema, "Not finished, or too many requests wait already: poll Location."
                ),
            },
            *schema.BODY,
            *schema.RUN,
            409,
        ),
        tags=["Executions"],
    )
    def post(self, request: Request) -> Response:
        execution, created, wait_s = self._submitted(request)
        execution = submission.until_finished(execution, wait_s=wait_s, http=request)
        return answer(execution, request, created=created)

    def _submitted(self, request: Request) -> tuple[Execution, bool, float]:
        """Return the execution, whether it is new, and how long to wait: nothing large, for a wait may be long."""
        key = submission.idempotency_key(request)
        form = validated(SubmissionForm, request.data)

        def wanted() -> services.Request:
            self.runtime = submission.runtime_named(form["runtime"])
            return submission.request_of(form, runtime=self.runtime, client=self.caller, http=request)

        execution, created = submission.submit_once(key, request.data, self.caller, wanted)
        return execution, created, float(form["wait"])

    @extend_schema(
        summary="List executions",
        operation_id="list_executions",
        parameters=[ListForm],
        responses=schema.answers({200: PageSchema, **schema.LONG_QUERY}, 422, 429),
        tags=["Executions"],
    )
    def get(self, request: Request) -> Response:
        form = validated(ListForm, parameters(ListForm, request.query_params))
        fields = fields_of(form, request)
        visible = self.visible().defer(*representation.unneeded_columns(fields))
        if self.caller and self.caller.sees_everything:
            export.record_page(fields, http=request)
        place = places.PageOf(places.client_id_of(request))
        rows, cursor = page(visible, form, self.caller, representation.large_columns(fields), place.reading)
        following = None
        if cursor:
            query = request.query_params.copy()
            query["cursor"] = cursor
            following = f"{request.path}?{urlencode(list(_pairs(query)))}"
        response = Response(
            PageSchema.dump(next=following, results=[representation.listed(row, fields) for row in rows])
        )
        place.keep_until_closed(response)
        return response


def _pairs(query: Any) -> list[tuple[str, str]]:
    return [(name, value) for name, values in query.lists() for value in values]


class ExecutionView(ApiView):
    @extend_schema(
        summary="One execution",
        operation_id="get_execution",
        parameters=[WaitingForm],
        responses=schema.answers({200: ExecutionSchema}, 404, 422),
        tags=["Executions"],
    )
    def get(self, request: Request, execution_id: UUID) -> Response:
        wait_s = waiting_time(request)
        execution = self.execution(execution_id)
        execution = submission.until_finished(execution, wait_s=wait_s, http=request)
        # What a client reads of its own runs is the answer to its request, and no news to the trail.
        if execution.client != self.caller:
            export.record_read(execution, http=request)
        return Response(representation.detail(execution, request))


def waiting_time(request: Request) -> float:
    """Return the query parameter `wait` in seconds, parsed from text. Raises ValidationError."""
    query: dict[str, Any] = request.query_params.dict()
    with suppress(ValueError):  # the form reports the error
        query["wait"] = float(query.get("wait", 0))
    return float(validated(WaitingForm, query)["wait"])


class CancelView(ApiView):
    parser_classes = [JsonParser]

    @extend_schema(
        summary="Cancel an execution",
        operation_id="cancel_execution",
        description="A queued execution never starts. A running execution loses its sandbox.",
        request=None,
        responses=schema.answers(
            {
                200: OpenApiResponse(ExecutionSchema, "The execution was queued and never starts."),
                202: OpenApiResponse(ExecutionSchema, "The execution is running and ends within a second."),
            },
            403,
            404,
            409,
        ),
        tags=["Executions"],
    )
    def post(self, request: Request, execution_id: UUID) -> Response:
        execution = self.execution(execution_id)
        cancelled = services.cancel(execution.pk, outcome=Outcome.CANCEL_REQUESTED, http=request)
        execution = self.execution(execution_id)
        if not cancelled:
            raise Conflict(
                f"The execution has already ended: {execution.status}.",
                remedy="There is nothing to cancel.",
                code="already_ended",
            )
        return Response(representation.detail(execution, request), status=200 if execution.is_finished else 202)


class RequestsView(ApiView):
    @extend_schema(
        summary="List the requests of a program",
        operation_id="list_requests",
        description="Allowed and refused requests in order, also while the program runs; at most about a thousand.",
        responses=schema.answers({200: EgressRequestSchema(many=True)}, 404),
        tags=["Executions"],
    )
    def get(self, request: Request, execution_id: UUID) -> Response:
        execution = self.execution(execution_id)
        if execution.network == Network.NONE:
            return Response([])
        return Response(list(execution.egress_requests.values(*EgressRequestSchema.getters)))
