"""/api/v1/batches: submit many executions in one request, all or none, and follow them together."""

import os
import select
import socket
import time
from collections import Counter
from dataclasses import replace
from typing import Any
from uuid import UUID

import uuid_utils.compat
from django.db import InterfaceError, OperationalError, connection, transaction
from django.http import Http404
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from api.v1 import schema
from api.v1.answers import BatchSchema
from api.v1.base import ApiView
from api.v1.views import waiting_time
from clients.admission import admit
from executions import places, representation, services, submission, waiting
from executions.forms import BatchForm, WaitingForm
from executions.models import Execution
from runtimes.code_policy import Violation
from runtimes.models import CodePolicy, Runtime
from sandbox_platform.kit.errors import InvalidField
from sandbox_platform.kit.fields import validated
from sandbox_platform.kit.notify import FINISHED
from sandbox_platform.kit.web import waits

# Many executions of a batch end at about the same time: wait this long, then read all of them with one query.
COALESCE_S = 0.05
# Columns of an execution that no field of the answer is made of.
NOT_SHOWN = representation.unneeded_columns(representation.SMALL)


def requests_of(forms: list[dict[str, Any]], view: ApiView, http: Request) -> list[services.Request]:
    """Return a services.Request for each form. Raises InvalidField with the path of the execution's field."""
    runtimes: dict[str, Runtime] = {}
    wanted = []
    for index, form in enumerate(forms):
        try:
            name = form["runtime"]
            runtime = runtimes.get(name) or runtimes.setdefault(name, submission.runtime_named(name))
            view.runtime = runtime if len(runtimes) == 1 else None
            wanted.append(submission.request_of(form, runtime=runtime, client=view.caller, http=http))
        except InvalidField as e:
            raise InvalidField(f"executions[{index}].{e.field}", e.detail, e.remedy) from e
    return wanted


def violations_of(wanted: services.Request) -> list[Violation]:
    """Check the program before the transaction, which locks the client's quotas and holds a connection."""
    runtime = wanted.runtime
    is_checked = runtime.enabled and runtime.code_policy != CodePolicy.OFF
    return services.violations(wanted.code, runtime) if is_checked else []


class BatchesView(ApiView):
    @extend_schema(
        summary="Submit a batch",
        operation_id="submit_batch",
        description="Accepts all executions or none.",
        request=BatchForm,
        responses=schema.answers(
            {202: OpenApiResponse(BatchSchema, "Accepted: poll Location.")}, *schema.BODY, *schema.RUN, 409
        ),
        tags=["Batches"],
    )
    def post(self, request: Request) -> Response:
        forms = validated(BatchForm, request.data)["executions"]
        wanted = requests_of(forms, self, request)
        batch_id = uuid_utils.compat.uuid7()
        found = [violations_of(one) for one in wanted]
        executions = []
        with transaction.atomic():
            admit(self.caller, len(wanted))
            for one, its in zip(wanted, found, strict=True):
                one = replace(one, batch_id=batch_id)
                executions.append(services.submit(one, policy=one.runtime.code_policy, admitted=True, found=its))
            # Before the commit: if Postgres failed after it, the caller would take the batch for refused, and send it
            # again.
            for execution in executions:
                for column in NOT_SHOWN:
                    execution.__dict__.pop(column, None)
            answer = shown(batch_id, sorted(executions, key=lambda execution: execution.pk))
        return Response(answer, status=202, headers={"Location": f"/api/v1/batches/{batch_id}"})

    def batch(self, batch_id: UUID) -> dict[str, Any]:
        """Return the batch as JSON. Raises Http404 if it has no execution that the caller may see."""
        executions = list(self.visible().filter(batch_id=batch_id).order_by("id").defer(*NOT_SHOWN))
        if not executions:
            raise Http404
        return shown(batch_id, executions)


def shown(batch_id: UUID, executions: list[Execution]) -> dict[str, Any]:
    return BatchSchema.dump(
        id=batch_id,
        finished=all(execution.is_finished for execution in executions),
        counts=Counter(execution.status for execution in executions),
        executions=[representation.listed(row, representation.SMALL) for row in executions],
    )


class BatchView(BatchesView):
    http_method_names = ["get", "head", "options"]

    @extend_schema(
        summary="Follow a batch",
        operation_id="get_batch",
        parameters=[WaitingForm],
        responses=schema.answers({200: BatchSchema}, 404, 422),
        tags=["Batches"],
    )
    def get(self, request: Request, batch_id: UUID) -> Response:
        wait_s = waiting_time(request)
        batch = self.batch(batch_id)
        if wait_s and not batch["finished"]:
            caller = request.META.get("gunicorn.socket")
            with places.waits.held(places.client_id_of(request)) as free:
                if free:
                    waits.begun()
                    until_finished([row["id"] for row in batch["executions"]], wait_s, caller)
                    batch = self.batch(batch_id)
        return Response(batch)


def until_finished(execution_ids: list[UUID], wait_s: float, caller: socket.socket | None) -> None:
    """Return when no execution is open, after `wait_s` seconds, or when the caller has disconnected.

    Holds no database connection while it waits.
    """
    deadline = time.monotonic() + wait_s
    with waiting.hub.event(execution_ids, FINISHED) as event:
        poll = select.poll()
        poll.register(event, select.POLLIN)
        if caller is not None:
            poll.register(caller, select.POLLRDHUP)
        while any_open(execution_ids) and (left := deadline - time.monotonic()) > 0:
            ready = dict(poll.poll(min(left, waiting.LOOK_AGAIN_S) * 1000))
            if event in ready:
                time.sleep(min(left, COALESCE_S))
                os.eventfd_read(event)
            elif ready:
                return


def any_open(execution_ids: list[UUID]) -> bool:
    try:
        return Execution.objects.open().filter(pk__in=execution_ids).exists()
    except (OperationalError, InterfaceError):
        time.sleep(waiting.RECONNECT_S)  # Postgres restarts; the runs continue
        return True
    finally:
        connection.close()
