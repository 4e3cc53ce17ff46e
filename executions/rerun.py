"""Running an execution's program again: on the configuration it had, or on the present one."""

import hashlib
from dataclasses import MISSING, fields
from typing import Any

from django.http import HttpRequest

from clients.models import Client
from clients.network import network_of
from executions import services
from executions.models import Execution, Mode
from runtimes.models import Limits, Network
from sandbox_platform.kit.errors import Conflicting
from sandboxes import images
from sandboxes.pool import Configuration, profile_of
from seccomp_profiles.models import UNCONFINED, SeccompProfile, hash_rules

# Those that every execution has recorded: later ones have a default.
LIMITS_OF_ALWAYS = {field.name for field in fields(Limits) if field.default is MISSING}
NAMES = (
    "image_id",
    "runtime_revision",
    "profile_name",
    "profile_revision",
    "profile_sha256",
    "runtime_environment",
    "network",
)


def then(execution: Execution) -> dict[str, Any]:
    values = [
        execution.image_id,
        execution.runtime_revision,
        execution.profile_name,
        execution.profile_revision,
        execution.profile_sha256,
        execution.environment,
        execution.network,
    ]
    limits = {f"limits.{name}": value for name, value in execution.limits.items()}
    return dict(zip(NAMES, values, strict=True)) | limits


def now(execution: Execution, caller: Client | None) -> dict[str, Any]:
    """Raises images.NobodyAnswers."""
    runtime = execution.runtime
    today = Configuration(runtime)
    profile = (profile_of(caller) if caller else None) or today.profile
    values = [
        images.image_id(runtime.live_image),
        runtime.revision,
        profile.profile.name if profile else UNCONFINED,
        profile.number if profile else None,
        profile.sha256 if profile else hash_rules(None),
        runtime.environment,
        network_of(runtime, caller),
    ]
    limits = {f"limits.{name}": value for name, value in today.limits.as_dict().items()}
    return dict(zip(NAMES, values, strict=True)) | limits


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
    if today["image_id"] != execution.image_id and not images.image_id(execution.image_id):
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


def look(execution: Execution, caller: Client | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what has changed since, and why it cannot run as it did then. Raises Refused if it cannot run at all."""
    refuse_gone_mode(execution)
    before, today = then(execution), now(execution, caller)
    return differences(before, today), obstacles(execution, today)


def refuse_gone_configuration(obstacles: list[str]) -> None:
    if obstacles:
        raise Conflicting(
            f"It cannot run as it did then: {'; '.join(obstacles)}.",
            field="configuration",
            remedy="Run it on today's configuration (now).",
            code="configuration_gone",
        )


def refuse_gone_mode(execution: Execution) -> None:
    if execution.mode not in execution.runtime.modes:
        raise Conflicting(
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
