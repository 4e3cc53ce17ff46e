"""POST /api/v1/executions/{id}/rerun: the same program once more, as it was then or as things are today."""

import hashlib
from dataclasses import MISSING, fields
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from executions import images, services
from executions.api import representation, schema, submission
from executions.api.base import ApiView, validated
from executions.api.forms import RerunForm
from executions.api.problems import Conflict, Unavailable
from executions.api.views import url_of
from executions.egress.policy import network_of
from executions.models import STARTED_FROM, Client, Execution, Mode
from executions.sandbox.pool import Configuration, profile_of
from runtimes.models import Limits, Network
from seccomp_profiles.models import UNCONFINED, SeccompProfile, hash_rules

# Those that every execution has recorded: later ones have a default.
LIMITS_OF_ALWAYS = {field.name for field in fields(Limits) if field.default is MISSING}


def then(execution: Execution) -> dict[str, Any]:
    started_from = {name: getattr(execution, name) for name in STARTED_FROM}
    return started_from | _beside(execution.environment, execution.network, execution.limits)


def now(execution: Execution, caller: Client | None) -> dict[str, Any]:
    """Raises Unavailable."""
    runtime = execution.runtime
    today = Configuration(runtime)
    profile = (profile_of(caller) if caller else None) or today.profile
    values = [
        ask(runtime.live_image),
        runtime.revision,
        profile.profile.name if profile else UNCONFINED,
        profile.number if profile else None,
        profile.sha256 if profile else hash_rules(None),
    ]
    started_from = dict(zip(STARTED_FROM, values, strict=True))
    return started_from | _beside(runtime.environment, network_of(runtime, caller), today.limits.as_dict())


def _beside(environment: dict[str, str], network: str, limits: dict[str, Any]) -> dict[str, Any]:
    return {"runtime_environment": environment, "network": network} | {
        f"limits.{name}": value for name, value in limits.items()
    }


def ask(image: str) -> str:
    try:
        return images.image_id(image)
    except images.NobodyAnswers as e:
        raise Unavailable(
            "No keeper answers what images there are.", remedy="Try again; an administrator can run `make doctor`."
        ) from e


def differences(before: dict[str, Any], today: dict[str, Any]) -> list[dict[str, Any]]:
    names = list(dict.fromkeys([*before, *today]))
    return [
        {"field": name, "then": before.get(name), "now": today.get(name)}
        for name in names
        if before.get(name) != today.get(name)
    ]


def obstacles(execution: Execution, today: dict[str, Any]) -> list[str]:
    """Why it cannot run as it did then."""
    if not execution.image_id:
        return ["it never had a sandbox"]
    found = []
    if hashlib.sha256(execution.code.encode()).hexdigest() != execution.code_sha256:
        found.append("its code is not stored as it was")
    if today["image_id"] != execution.image_id and not ask(execution.image_id):
        found.append(f"the image {execution.image_id} is gone")
    try:
        SeccompProfile.objects.with_sha256(execution.profile_sha256, name=execution.profile_name)
    except SeccompProfile.DoesNotExist:
        found.append(f"the seccomp profile {execution.profile_name} was deleted")
    if not LIMITS_OF_ALWAYS <= set(execution.limits) <= set(Limits.__dataclass_fields__):
        found.append("the platform has other limits today")
    if execution.network == Network.EGRESS != today["network"]:
        found.append("it had egress, which its runtime or this client has not got today")
    for name, value in execution.limits.items():
        cap = today.get(f"limits.{name}")
        if isinstance(value, int | float) and isinstance(cap, int | float) and value > cap:
            found.append(f"{name} was {value}, above today's cap of {cap}")
    return found


def refuse_gone_mode(execution: Execution) -> None:
    if execution.mode not in execution.runtime.modes:
        raise Conflict(
            f"The runtime {execution.runtime} has no mode {execution.mode} any more.",
            remedy="An administrator can give it back to the runtime.",
            code="mode_gone",
        )


def request_of(
    execution: Execution, *, pinned: bool, client: Client | None, http: HttpRequest, endpoint: str
) -> services.Request:
    files = execution.input_files.values_list("path", "content") if execution.input_count else []
    return services.Request(
        runtime=execution.runtime,
        code=execution.code,
        endpoint=endpoint,
        mode=Mode(execution.mode),
        arguments=execution.arguments,
        stdin=execution.stdin,
        argv=execution.argv,
        source_file=execution.source_file,
        files={path: bytes(content) for path, content in files},
        variables=execution.variables,
        labels=execution.labels,
        client=client,
        remote_address=http.META.get("REMOTE_ADDR") or None,
        rerun_of=execution.pk,
        pinned_to=execution if pinned else None,
    )


class RerunView(ApiView):
    @extend_schema(
        summary="Run it again",
        operation_id="rerun_execution",
        description="`then`: on the image, seccomp profile and limits it had, or 409 with what is gone. `now`: on "
        "the runtime as it is today. `differences` lists what changed since, either way.",
        request=RerunForm,
        responses=schema.answers(
            {
                201: OpenApiResponse(schema.RerunSchema, "Finished."),
                202: OpenApiResponse(schema.RerunSchema, "Under way: see Location."),
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
        before, today = then(earlier), now(earlier, self.caller)
        pinned = form["configuration"] == "then"
        refuse_gone_mode(earlier)
        if pinned and (found := obstacles(earlier, today)):
            raise Conflict(
                f"It cannot run as it did then: {'; '.join(found)}.",
                field="configuration",
                remedy="Send now, to run it on today's configuration.",
                code="configuration_gone",
            )
        wanted = request_of(
            earlier, pinned=pinned, client=self.caller, http=request._request, endpoint=submission.ENDPOINT
        )
        execution = services.submit(wanted, policy=earlier.runtime.code_policy)
        execution = submission.until_finished(execution, wait_s=form["wait"], http=request)
        content = {"execution": representation.detail(execution), "differences": differences(before, today)}
        status = 201 if execution.is_finished else 202
        return Response(content, status=status, headers={"Location": url_of(execution.pk)})
