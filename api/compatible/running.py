"""Runs a program for a request that waits for its end, as most formats do."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from api.compatible.base import FormatView, PlatformFault
from api.v1 import problems
from executions import files, places, services, submission, waiting
from executions.forms import SubmissionForm
from executions.models import Execution, Outcome, Status
from executions.places import TooManyWaiting
from executions.submission import finished
from runtimes.models import CodePolicy, Runtime
from sandbox_platform.kit.errors import InvalidField
from sandbox_platform.kit.fields import validated

RETRY_S = 5


def wanted(
    view: FormatView, runtime: Runtime, form: dict[str, Any], *, announce_start: bool = False
) -> services.Request:
    """Return the request of a form of /api/v1, whose fields `view.theirs` names as the format does.

    `announce_start`: whether the caller learns the id before the run has ended.

    Raises ValidationError, InvalidField and Conflicting.
    """
    view.runtime = runtime
    checked = validated(SubmissionForm, form | {"runtime": runtime.slug})
    request = submission.request_of(checked, runtime=runtime, client=view.caller, http=view.request)
    return replace(request, endpoint=view.format.name, announce_start=announce_start)


def with_files(request: services.Request, given: Mapping[str, bytes]) -> services.Request:
    """Return the request with these files beside its program, by path. Raises InvalidField."""
    for path in given:
        files.checked_path(path, "files")
        if path == request.source_file:
            raise InvalidField("files", f"{path!r} is the path of the program.", "Rename the file.")
    files.refuse_clashes([request.source_file, *given])
    return replace(request, files=given)


def run_to_end(view: FormatView, request: services.Request, *, checked: str | None = None) -> Execution:
    """Run the program and return the ended execution. It is cancelled if the caller disconnects.

    A client that has as many requests waiting as it may have is not refused: its next one waits before its run is
    queued. Trainers and workflows send bursts, and take a refusal for a failed run.

    `checked`: the text that the code policy is for, if the program only carries it.

    Raises TooManyWaiting, what services.submit raises, and the problems of `refuse_unless_run`.
    """
    client_id = places.client_id_of(view.request)
    http: HttpRequest = view.request._request
    with (
        places.soon_held(client_id, _gives_up(http)) as free,
        waiting.hub.waiter(request.execution_id) as waiter,
    ):
        if not free:
            raise TooManyWaiting
        runtime = request.runtime
        is_apart = checked is not None and runtime.code_policy != CodePolicy.OFF
        found = services.violations(checked or "", runtime) if is_apart else None
        execution = services.submit(request, policy=runtime.code_policy, found=found)
        if not execution.is_finished:
            del request  # it may be large, and the wait long
            submission.forget(view.request, execution)
            del execution
            execution = finished(waiter, http)
    refuse_unless_run(execution)
    return execution


def _gives_up(http: HttpRequest) -> Callable[[], bool]:
    """Return what tells whether to wait no more for a place: the caller has left, or waited as long as a queued run."""
    until = time.monotonic() + settings.SANDBOX_QUEUE_TIMEOUT_MS / 1000
    caller = http.META.get("gunicorn.socket")
    return lambda: time.monotonic() > until or waiting.has_left(caller)


def refuse_unless_run(execution: Execution) -> None:
    """Raise a problem if the program did not run to an end of its own, or of its limits."""
    match execution.status:
        case Status.REJECTED:
            raise problems.Invalid("code", execution.message, "")
        case Status.CANCELLED if execution.outcome == Outcome.QUEUE_TIMEOUT:
            raise problems.Unavailable(execution.message, wait=RETRY_S)
        case Status.CANCELLED:
            raise problems.Conflict(execution.message)
        case Status.PLATFORM_ERROR:
            raise PlatformFault(f"The platform failed, not the program: {execution.message}")
