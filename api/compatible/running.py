"""Runs a program for a request that waits for its end, as most formats do."""

import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from django.http import HttpRequest

from api.compatible.base import FormatView, PlatformFault
from api.v1 import problems
from executions import files, places, services, submission, waiting
from executions.forms import SubmissionForm
from executions.models import Execution, Outcome, Status
from executions.places import TooManyWaiting
from executions.submission import finished
from runtimes.models import CodePolicy, Runtime
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


def program_path(runtime: Runtime, source_file: str, beside: Collection[str]) -> str:
    """Return where a program goes that has files beside it: under another name than one of them.

    Where the name says what to run, as in Java, it is the same, and the program takes the place of the file.
    """
    if source_file not in beside or "{name}" in runtime.run_command:
        return source_file
    source = PurePath(source_file)
    names = (f"{source.stem}_{number}{source.suffix}" for number in itertools.count(1))
    return next(name for name in names if name not in beside)


def with_files(request: services.Request, given: Mapping[str, bytes]) -> services.Request:
    """Return the request with these files beside its program, by path. Raises InvalidField."""
    for path in given:
        files.checked_path(path, "files")
    source_file = program_path(request.runtime, request.source_file, given)
    beside = {path: content for path, content in given.items() if path != source_file}
    files.refuse_clashes([source_file, *beside])
    return replace(request, source_file=source_file, files=beside)


def run_to_end(
    view: FormatView,
    request: services.Request,
    *,
    checked: str | None = None,
    beside: Callable[[], Mapping[str, bytes]] | None = None,
    then: Callable[[Execution], object] | None = None,
) -> Execution:
    """Run the program and return the ended execution. It is cancelled if the caller disconnects.

    A client that has as many requests waiting as it may have is not refused: its next one waits before its run is
    queued. Trainers and workflows send bursts, and take a refusal for a failed run.

    `checked`: the text that the code policy is for, if the program only carries it. `beside`: reads the files beside
    the program, once there is a place, because a short request can name many stored files. `then`: is called with the
    ended execution while the request still has its place, such as to wait for the place of a large answer.

    Raises TooManyWaiting, what `beside` and `then` raise, what services.submit raises, and the problems of
    `refuse_unless_run`.
    """
    client_id = places.client_id_of(view.request)
    http: HttpRequest = view.request._request
    with (
        places.soon_held(client_id, waiting.gives_up(http)) as free,
        waiting.hub.waiter(request.execution_id) as waiter,
    ):
        if not free:
            raise TooManyWaiting
        if beside:
            request = with_files(request, beside())
        runtime = request.runtime
        is_apart = checked is not None and runtime.code_policy != CodePolicy.OFF
        found = services.violations(checked or "", runtime) if is_apart else None
        execution = services.submit(request, policy=runtime.code_policy, found=found)
        if not execution.is_finished:
            del request, checked  # they may be large, and the wait long
            submission.forget(view.request, execution)
            del execution
            execution = finished(waiter, http)
        refuse_unless_run(execution)
        if then:
            then(execution)
    return execution


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
