"""POST /api/v1/executions/{id}/rerun: run a program again, as recorded (`then`) or as configured today (`now`)."""

from uuid import UUID

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from api.v1 import schema
from api.v1.answers import DifferenceSchema, RerunSchema, url_of
from api.v1.base import ApiView
from executions import representation, rerun, services, submission
from executions.forms import RerunForm
from sandbox_platform.kit.fields import validated


class RerunView(ApiView):
    @extend_schema(
        summary="Rerun an execution",
        operation_id="rerun_execution",
        description="`then`: on the recorded image, seccomp profile and limits, or 409 naming what no longer exists. "
        "`now`: on the runtime's present configuration. `differences` lists the changes since, in both cases.",
        request=RerunForm,
        responses=schema.answers(
            {
                201: OpenApiResponse(RerunSchema, "Finished."),
                202: OpenApiResponse(RerunSchema, "Not finished: poll Location."),
            },
            *schema.BODY,
            *schema.RUN,
            404,
            409,
        ),
        tags=["Executions"],
    )
    def post(self, request: Request, execution_id: UUID) -> Response:
        form = validated(RerunForm, request.data)
        earlier = self.execution(execution_id)
        self.runtime = earlier.runtime
        submission.refuse_disabled(self.runtime)
        differences, obstacles = rerun.look(earlier, self.caller)
        pinned = form["configuration"] == "then"
        if pinned:
            rerun.refuse_gone_configuration(obstacles)
        wanted = rerun.request_of(
            earlier, pinned=pinned, client=self.caller, http=request._request, endpoint=submission.ENDPOINT
        )
        execution = services.submit(wanted, policy=earlier.runtime.code_policy)
        del earlier, wanted  # they may be large, and the wait long
        execution = submission.until_finished(execution, wait_s=form["wait"], http=request)
        content = RerunSchema.dump(
            execution=representation.detail(execution, request),
            differences=[DifferenceSchema.dump(**difference) for difference in differences],
        )
        status = 201 if execution.is_finished else 202
        return Response(content, status=status, headers={"Location": url_of(execution.pk)})
