"""Rerun an execution's program on its recorded configuration (`then`) or on the present one (`now`)."""

import hashlib
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from clients.models import Client
from executions import services
from executions.configuration import NotReproducible, RunConfiguration
from executions.models import Execution, Mode
from runtimes.models import Network
from sandbox_platform.kit.callers import remote_address
from sandbox_platform.kit.errors import Conflicting
from sandbox_platform.kit.units import exact_of
from sandboxes import images


def configuration_today(execution: Execution, caller: Client | None) -> RunConfiguration:
    """Return the configuration that the caller would get by submitting the program now.

    Raises images.NobodyAnswers.
    """
    runtime = execution.runtime
    resolved = RunConfiguration.resolve(runtime, caller, artifact_suffixes=execution.artifact_suffixes)
    sandbox = resolved.in_force(runtime, caller)
    return resolved.started(sandbox, images.image_id(sandbox.image))


def obstacles(execution: Execution, today: RunConfiguration) -> list[str]:
    """Return the reasons why the program cannot run on its recorded configuration. Raises images.NobodyAnswers."""
    then = RunConfiguration.stored(execution)
    if not then.image_id:
        return ["it never had a sandbox"]
    found = []
    if hashlib.sha256(execution.code.encode()).hexdigest() != execution.code_sha256:
        found.append("the stored code differs from the code that ran")
    if today.image_id != then.image_id and not images.image_id(then.image_id):
        found.append(f"the image {then.image_id} no longer exists")
    found += _gone(then.recorded_profile) + _gone(then.recorded_limits)
    if then.network == Network.EGRESS != today.network:
        found.append("it had egress, which the runtime or this client does not have today")
    for name, value in then.limits.items():
        cap = today.limits.get(name)
        if isinstance(value, int | float) and isinstance(cap, int | float) and value > cap:
            found.append(f"{name} was {exact_of(name, value)}, above today's cap of {exact_of(name, cap)}")
    return found


def _gone(read: Callable[[], Any]) -> list[str]:
    try:
        read()
    except NotReproducible as e:
        return [str(e)]
    return []


def look(execution: Execution, caller: Client | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the differences between then and now, and the obstacles to running on the recorded configuration.

    Raises Refused if the program cannot run at all.
    """
    refuse_gone_mode(execution)
    today = configuration_today(execution, caller)
    return RunConfiguration.stored(execution).differences(today), obstacles(execution, today)


def refuse_gone_configuration(obstacles: list[str]) -> None:
    """Raise Conflicting if there are obstacles. `obstacles`: the second value of `look`."""
    if obstacles:
        raise Conflicting(
            f"The execution cannot run on its recorded configuration: {'; '.join(obstacles)}.",
            field="configuration",
            remedy="Rerun it on today's configuration (now).",
            code="configuration_gone",
        )


def refuse_gone_mode(execution: Execution) -> None:
    if execution.mode not in execution.runtime.modes:
        raise Conflicting(
            f"The runtime {execution.runtime} no longer has the mode {execution.mode}.",
            remedy="An administrator can add the mode to the runtime.",
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
        artifact_suffixes=execution.artifact_suffixes,
        client=client,
        remote_address=remote_address(http),
        rerun_of=execution.pk,
        pinned_to=execution if pinned else None,
    )
