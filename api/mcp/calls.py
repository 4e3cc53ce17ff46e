"""What each tool does: its arguments into the forms and service functions of /api/v1, and their values into results."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from api.mcp import results, tools
from api.v1.base import ApiView
from api.v1.catalogue import check_may_look_into
from api.v1.listing import ListForm
from clients.admission import usable
from clients.network import network_of
from clients.permissions import MayRun
from executions import export, pages, representation, services, submission
from executions.forms import LONGEST_WAIT_S, SubmissionForm, WaitingForm
from executions.limits import ceiling
from executions.models import Execution
from inspections.describing import SYSTEM
from inspections.models import Inspection
from redaction import services as redaction
from runtimes.models import ADJUSTABLE, Runtime
from sandbox_platform.kit.errors import Conflicting, InvalidField
from sandbox_platform.kit.fields import Strict, Text, Whole, validated

ENDPOINT = "mcp"
RUNS_IN_A_PAGE = 10


@dataclass(frozen=True)
class Pending:
    """A run whose end the request may wait for."""

    execution: Execution
    wait_s: float
    cancels: bool  # whether the run ends with the request
    offset: int = 0
    with_code: bool = False

    def result(self, execution: Execution, request: Request) -> dict[str, Any]:
        return results.run(execution, request, offset=self.offset, with_code=self.with_code)


class ListingForm(Strict):
    runtime = Text(required=False, max_length=50)


class GettingForm(WaitingForm):
    id = serializers.UUIDField()
    offset = Whole(default=0, min_value=0, max_value=2**31)


def call(name: str, arguments: dict[str, Any], view: ApiView, key: str | None) -> Pending | dict[str, Any]:
    """Return the tool's result, or the run that it is about. `key`: the request's, of its session."""
    if tools.LANGUAGE in arguments:
        arguments = arguments | {tools.RUNTIME: arguments[tools.LANGUAGE]}
        del arguments[tools.LANGUAGE]
    match name:
        case tools.RUN_CODE:
            return _run_code(arguments, view, key)
        case tools.GET_RUN:
            return _get_run(arguments, view)
        case tools.SEARCH_RUNS:
            return results.result(_found(arguments, view))
    return results.result({"runtimes": _runtimes(validated(ListingForm, arguments), view)})


def key_of(session: str, identity: int | str) -> str | None:
    """Return the key under which a session's request submits, by which another request finds the run to cancel it."""
    if not session:
        return None
    text = f"{session}\n{type(identity).__name__}\n{identity}"
    return f"mcp:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _run_code(arguments: dict[str, Any], view: ApiView, key: str | None) -> Pending:
    caller: Any = view.request.user
    if not caller.may_run:
        raise PermissionDenied(MayRun.message)
    form = validated(SubmissionForm, arguments)

    def wanted() -> services.Request:
        view.runtime = _runtime_named(form["runtime"])
        request = submission.request_of(form, runtime=view.runtime, client=view.caller, http=view.request)
        return replace(request, endpoint=ENDPOINT)

    try:
        execution, _ = submission.submit_once(key, arguments, view.caller, wanted)
    except Conflicting as e:
        if e.code != submission.KEY_REUSED:
            raise
        # A model knows nothing of keys; its next call has another id.
        raise Conflicting(
            "The MCP client has used this request's id in its session before, for another call.",
            remedy=f"Call {tools.RUN_CODE} again. If that fails, too, the client must begin a new session.",
            code=e.code,
        ) from e
    until_end = "wait" not in arguments
    return Pending(execution, LONGEST_WAIT_S if until_end else float(form["wait"]), cancels=True)


def _runtime_named(name: str) -> Runtime:
    try:
        return submission.runtime_named(name)
    except InvalidField as e:
        raise InvalidField(tools.RUNTIME, e.detail, f"Call {tools.LIST_RUNTIMES}.") from e


def _get_run(arguments: dict[str, Any], view: ApiView) -> Pending:
    form = validated(GettingForm, arguments)
    execution = view.execution(form["id"])
    # What a client reads of its own runs is the answer to its request, and no news to the trail.
    if execution.client != view.caller:
        export.record_read(execution, http=view.request)
    return Pending(execution, float(form["wait"]), cancels=False, offset=form["offset"], with_code=True)


def _found(arguments: dict[str, Any], view: ApiView) -> dict[str, Any]:
    form = validated(ListForm, {"limit": RUNS_IN_A_PAGE} | arguments)
    visible = view.visible().defer(*representation.unneeded_columns(representation.SMALL))
    rows, cursor = pages.page(visible, form, view.caller)
    several = bool(view.caller and view.caller.sees_everything)
    runs = []
    for row in rows:
        run = results.summary(redaction.shown(row))
        if several and row.client:
            run["client"] = row.client.name
        runs.append(run)
    return {"runs": runs} | ({"cursor": cursor} if cursor else {})


def _runtimes(form: dict[str, Any], view: ApiView) -> list[dict[str, Any]]:
    if "runtime" not in form:
        return [_shown(runtime, view) for runtime in usable(view.caller)]
    runtime = _runtime_named(form["runtime"])
    check_may_look_into(runtime, view.caller)
    described = Inspection.objects.newest_description(runtime)
    packages = described.details["facts"]["packages"] if described else {}
    installed = {
        ecosystem: [" ".join(package) for package in listed]
        for ecosystem, listed in packages.items()
        if listed and ecosystem not in SYSTEM
    }
    return [_shown(runtime, view) | {"packages": installed}]


def _shown(runtime: Runtime, view: ApiView) -> dict[str, Any]:
    return {
        "slug": runtime.slug,
        "name": runtime.name,
        "modes": runtime.modes,
        "limits": {name: ceiling(runtime, view.caller, name)[0] for name in ADJUSTABLE},
        "network": str(network_of(runtime, view.caller)),
        "source_file": runtime.source_file,
    }
