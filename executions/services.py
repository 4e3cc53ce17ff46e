"""What happens to executions; the API, the admin and the tasks all come through here."""

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import uuid_utils.compat
from django.db import transaction
from django.utils import timezone
from django_q.tasks import async_task

from clients.admission import admit
from clients.models import Client
from executions.configuration import RunConfiguration
from executions.limits import effective_limits
from executions.models import STARTED_FROM, Artifact, Execution, InputFile, Mode, Outcome, Status
from executions.models.execution import OPEN
from executions.verdict import Verdict, cancellation
from redaction import services as redaction
from runtimes import code_policy
from runtimes.models import CodePolicy, Runtime
from sandbox_platform.kit.broker import NotifyBroker
from sandbox_platform.kit.notify import CANCEL, notify
from sandboxes.models import Sandbox
from sandboxes.session import Report

TASK = "executions.tasks.run_execution"


def db_text(text: str) -> str:
    """Text as Postgres can hold it: without NUL and without lone surrogates."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


class RuntimeNotAllowed(Exception):
    def __init__(self, client: Client, runtime: Runtime) -> None:
        super().__init__(
            f"The client {client} may not use the runtime {runtime}, only {', '.join(client.allowed_runtimes)}. "
            "An administrator can allow it."
        )


@dataclass(frozen=True)
class Request:
    """What a caller asked for, checked for form but not yet for permission."""

    runtime: Runtime
    code: str
    endpoint: str
    mode: Mode = Mode.FUNCTION
    arguments: str = "{}"  # JSON text
    stdin: str = ""
    argv: list[str] = field(default_factory=list)
    source_file: str = ""  # the runtime's, unless the caller named another
    files: Mapping[str, bytes] = field(default_factory=dict)  # beside the program, by their path in /workspace
    variables: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None
    request_sha256: str = ""
    batch_id: UUID | None = None
    rerun_of: UUID | None = None
    pinned_to: Execution | None = None  # run on the configuration that this one ran on
    client: Client | None = None
    remote_address: str | None = None
    # By the names of runtimes.models.ADJUSTABLE; the runtime's and the client's where there is none.
    limits: Mapping[str, int] = field(default_factory=dict)
    artifact_suffixes: list[str] | None = None  # with the dot; None keeps every file
    # False: only the answer tells the execution's id, so nobody can watch the run.
    announce_start: bool = True
    callback_url: str = ""  # checked by callbacks.addresses.check_url
    # Chosen by a caller who waits for it: it listens before the run can end.
    execution_id: UUID = field(default_factory=uuid_utils.compat.uuid7)
    configuration: RunConfiguration | None = None  # where the door has resolved it already

    def resolve(self) -> RunConfiguration:
        """Raises LimitTooHigh."""
        if self.pinned_to is None:
            return RunConfiguration.resolve(
                self.runtime, self.client, limits=self.limits, artifact_suffixes=self.artifact_suffixes
            )
        effective_limits(self.runtime, self.client, self.pinned_to.limits)
        return RunConfiguration.stored(self.pinned_to)


def submit(request: Request, *, policy: str, admitted: bool = False) -> Execution:
    """Record the execution and queue it, or record why not. The row exists when this returns.

    `admitted`: the caller has counted it already, in the transaction that this is part of.

    Raises RuntimeNotAllowed, limits.LimitTooHigh, admission.OverLimit and NeverFits, and then there is none.
    """
    if request.client and not request.client.may_use(request.runtime):
        raise RuntimeNotAllowed(request.client, request.runtime)
    configuration = request.configuration or request.resolve()
    execution = Execution(
        id=request.execution_id,
        client=request.client,
        runtime=request.runtime,
        endpoint=request.endpoint,
        mode=request.mode,
        code=db_text(request.code),
        code_sha256=hashlib.sha256(request.code.encode("utf-8", "surrogatepass")).hexdigest(),
        arguments=request.arguments,
        stdin=db_text(request.stdin),
        argv=request.argv,
        source_file=request.source_file or request.runtime.source_file,
        input_count=len(request.files),
        variables=request.variables,
        labels=request.labels,
        idempotency_key=request.idempotency_key,
        request_sha256=request.request_sha256,
        batch_id=request.batch_id,
        rerun_of=request.rerun_of,
        queued_at=(now := timezone.now()),
        enqueued_at=now,
        pinned=request.pinned_to is not None,
        remote_address=request.remote_address,
        callback_url=request.callback_url,
        announce_start=request.announce_start,
        **configuration.columns(),
    )
    if not request.runtime.enabled:
        message = f"The runtime {request.runtime.slug} is switched off; an administrator can enable it."
        return _reject(execution, request.files, Outcome.RUNTIME_DISABLED, message, admitted=admitted)
    if policy != CodePolicy.OFF:
        found = code_policy.check(request.code, request.runtime.slug, request.runtime.disabled_rules)
        execution.policy_violations = [
            {"rule": v.rule, "line": v.line, "message": db_text(v.message)} for v in found
        ]
        if found and policy == CodePolicy.BLOCK:
            message = "\n".join(db_text(str(v)) for v in found)
            return _reject(execution, request.files, Outcome.CODE_POLICY, message, admitted=admitted)
    with transaction.atomic(savepoint=not admitted):
        if not admitted:
            admit(request.client)
        _insert(execution, request.files)
        enqueue(execution)
    return execution


def enqueue(execution: Execution) -> None:
    """With its client's name on it, whose turn it will be, and its own, by which the keeper misses it."""
    name = str(execution.pk)
    broker = NotifyBroker(client_id=execution.client_id, execution_id=execution.pk)
    async_task(TASK, name, task_name=name, broker=broker)


def _reject(
    execution: Execution, files: Mapping[str, bytes], outcome: Outcome, message: str, *, admitted: bool
) -> Execution:
    execution.status, execution.outcome, execution.message = Status.REJECTED, outcome, message
    execution.finished_at = timezone.now()
    redaction.redact_new(execution)
    with transaction.atomic(savepoint=not admitted):
        if not admitted:
            admit(execution.client)
        _insert(execution, files)
    return execution


def _insert(execution: Execution, files: Mapping[str, bytes]) -> None:
    execution.save(force_insert=True)
    if files:
        InputFile.objects.bulk_create(
            InputFile(execution=execution, path=path, content=content) for path, content in files.items()
        )


def finish(
    execution_id: UUID,
    verdict: Verdict,
    *,
    report: Report | None = None,
    sandbox: Sandbox | None = None,
    redacting: bool = True,
    **fields: Any,
) -> bool:
    """Store the end of a queued or running execution, once. False if somebody else already did.

    A `report` comes with the `limits` it ran under, among `fields`. `redacting`: False if no policy redacts.
    """
    values: dict[str, Any] = fields | {
        "status": verdict.status,
        "outcome": verdict.outcome,
        "message": db_text(verdict.message),
        "exit_code": verdict.exit_code,
        "signal": verdict.signal,
        "result": verdict.result,
        "finished_at": timezone.now(),
    }
    if sandbox:
        values |= _provenance(sandbox)
    if report:
        values |= _from_report(report, fields["limits"]["output_bytes"])
    if redacting:
        row = Execution.objects.filter(pk=execution_id)
        values |= redaction.redacted_end(lambda names: row.values(*names).first(), values)
    # A trigger tells the caller and gives the sandbox back.
    with transaction.atomic() if report and report.artifacts else nullcontext():
        if not Execution.objects.open().filter(pk=execution_id).update(**values):
            return False
        if report:
            Artifact.objects.bulk_create(
                Artifact(execution_id=execution_id, name=db_text(name), content=content, size=len(content))
                for name, content in report.artifacts
            )
    return True


def _provenance(sandbox: Sandbox) -> dict[str, Any]:
    names = (*STARTED_FROM, "node", "runsc_version")
    return {name: getattr(sandbox, name) for name in names} | {"sandbox_id": sandbox.container_id}


def _from_report(report: Report, output_bytes: int) -> dict[str, Any]:
    return {
        "stdout": db_text(report.stdout[:output_bytes].decode("utf-8", "replace")),
        "stderr": db_text(report.stderr[:output_bytes].decode("utf-8", "replace")),
        "stdout_truncated": len(report.stdout) > output_bytes,
        "stderr_truncated": len(report.stderr) > output_bytes,
        "started_at": report.started_at,
        "ended_at": report.ended_at,
        "cpu_ms": report.cpu_ms,
        "peak_memory_bytes": report.peak_memory_bytes,
        "artifact_count": len(report.artifacts),
    }


def cancel(execution_id: UUID, *, outcome: Outcome = Outcome.CALLER_GONE) -> bool:
    """End it as soon as possible: a queued one never starts, a running one's sandbox is killed. False if it had
    ended already."""
    with transaction.atomic():
        row = Execution.objects.select_for_update().filter(pk=execution_id, status__in=OPEN).first()
        if row is None:
            return False
        if row.status == Status.QUEUED:
            return finish(execution_id, cancellation(outcome))
        if not row.cancel_requested_at:
            fields = {"cancel_requested_at": timezone.now(), "cancel_outcome": outcome}
            Execution.objects.filter(pk=execution_id).update(**fields)
            notify(CANCEL, str(execution_id))
        return True
