"""Submit, queue, finish and cancel executions. The API, the admin and the tasks use only these functions."""

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import uuid_utils.compat
from django.db import connection, transaction
from django.utils import timezone

from clients.admission import admit, check_runtime
from clients.models import Client
from executions.configuration import RunConfiguration
from executions.limits import effective_limits
from executions.models import STARTED_BY, STARTED_FROM, Artifact, Execution, InputFile, Mode, Outcome, Status
from executions.models.execution import OPEN
from executions.verdict import Verdict, cancellation
from redaction import services as redaction
from runtimes import code_policy
from runtimes.models import CodePolicy, Runtime
from sandbox_platform.kit import acts, request_ids, tracing
from sandbox_platform.kit.acts import Kind
from sandbox_platform.kit.errors import InvalidField, TooMany
from sandbox_platform.kit.notify import CANCEL, notify
from sandbox_platform.kit.prepared import prepared
from sandbox_platform.kit.services import Service
from sandbox_platform.kit.tasks import Task
from sandboxes.models import Sandbox
from sandboxes.session import Report

POLICY_RETRY_AFTER_S = 5
# The worker and the keeper queue a run again whose worker died.
RUN = Task("run", "executions.tasks.run_execution", senders=[Service.WEB, Service.WORKER, Service.KEEPER])


def db_text(text: str) -> str:
    """Return the text with NUL and lone surrogates replaced: Postgres cannot hold them."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


@dataclass(frozen=True)
class Request:
    """A caller's request. Its form is validated, its permissions are not yet checked."""

    runtime: Runtime
    code: str
    endpoint: str
    mode: Mode = Mode.FUNCTION
    arguments: str = "{}"  # JSON text
    stdin: str = ""
    argv: list[str] = field(default_factory=list)
    source_file: str = ""  # "": the runtime's source file
    files: Mapping[str, bytes] = field(default_factory=dict)  # further files, by path in /workspace
    variables: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None
    request_sha256: str = ""
    batch_id: UUID | None = None
    rerun_of: UUID | None = None
    pinned_to: Execution | None = None  # run on this execution's configuration
    client: Client | None = None
    remote_address: str | None = None
    # Keys are names of runtimes.models.ADJUSTABLE. Without a value, the runtime's limit and the client's cap apply.
    limits: Mapping[str, int] = field(default_factory=dict)
    artifact_suffixes: list[str] | None = None  # with the leading dot; None keeps every file
    # False: the caller learns the id only from the answer, so nobody can watch the run.
    announce_start: bool = True
    callback_url: str = ""  # checked by callbacks.addresses.check_url
    # Set by a caller that waits for the end: it must listen before the run can end.
    execution_id: UUID = field(default_factory=uuid_utils.compat.uuid7)
    configuration: RunConfiguration | None = None  # set if the caller has resolved it already

    def resolve(self) -> RunConfiguration:
        """Return the run's configuration: resolved now, or the stored one if pinned. Raises LimitTooHigh."""
        if self.pinned_to is None:
            return RunConfiguration.resolve(
                self.runtime, self.client, limits=self.limits, artifact_suffixes=self.artifact_suffixes
            )
        effective_limits(self.runtime, self.client, self.pinned_to.limits)
        return RunConfiguration.stored(self.pinned_to)


def submit(
    request: Request,
    *,
    policy: str,
    admitted: bool = False,
    found: list[code_policy.Violation] | None = None,
) -> Execution:
    """Store the execution and queue it, or store it as rejected. The row exists when this returns.

    `admitted`: the caller has counted the execution against the quotas already, in the present transaction. `found`:
    what `violations` returned before that, because a check may take long.

    Raises limits.LimitTooHigh, TooMany, and RuntimeNotAllowed, OverLimit and NeverFits of clients.admission. Then no
    row is stored.
    """
    check_runtime(request.client, request.runtime)
    if request.callback_url and redaction.changes(
        request.client.pk if request.client else None, request.callback_url
    ):
        raise InvalidField(
            "callback_url",
            "Holds a secret that this client's policy has redacted, and would be stored.",
            "Leave the secret out: callbacks are signed (docs/callbacks.md).",
        )
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
        request_id=request_ids.current(),
        traceparent=tracing.traceparent(),
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
        message = f"Runtime disabled: {request.runtime.slug}. An administrator can enable it."
        return _reject(execution, request.files, Outcome.RUNTIME_DISABLED, message, admitted=admitted)
    if policy != CodePolicy.OFF:
        if found is None:
            found = violations(request.code, request.runtime)
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


def violations(code: str, runtime: Runtime) -> list[code_policy.Violation]:
    """Check the program against the code policy. Raises TooMany if too many large ones are being checked."""
    if len(code) > code_policy.IN_PROCESS and not connection.in_atomic_block:
        connection.close()  # return it to the pool: the check of a large program takes seconds, and may have to wait
    try:
        return code_policy.check(code, runtime.slug, runtime.disabled_rules)
    except code_policy.Busy as e:
        raise TooMany(
            "Too many large programs are being checked.",
            remedy="Retry after Retry-After seconds.",
            code="policy_busy",
            retry_after_s=POLICY_RETRY_AFTER_S,
        ) from e


def enqueue(execution: Execution) -> None:
    """Queue the execution's task.

    The task carries the client's id, which decides whose turn it is, and the execution's id, by which the keeper
    notices a lost task.
    """
    RUN.enqueue(str(execution.pk), client_id=execution.client_id, execution_id=execution.pk)


def _reject(
    execution: Execution, files: Mapping[str, bytes], outcome: Outcome, message: str, *, admitted: bool
) -> Execution:
    execution.status, execution.outcome, execution.message = Status.REJECTED, outcome, message
    execution.finished_at, execution.started = timezone.now(), False
    redaction.redact_new(execution)
    renamed = redaction.new_names(execution, files)
    files = {renamed.get(path, path): content for path, content in files.items()}
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
    attempt: int | None = None,
    **fields: Any,
) -> bool:
    """Store the end of an open execution. Return False if it has already ended.

    `fields`: further columns; with a `report`, they must include the `limits` of the run. `redacting`: False if no
    policy redacts. `attempt`: the number of requeues when the caller took it; do nothing if it was queued again since.
    """
    values: dict[str, Any] = (
        {"started": report is not None}
        | fields
        | {
            "status": verdict.status,
            "outcome": verdict.outcome,
            "message": db_text(verdict.message),
            "exit_code": verdict.exit_code,
            "signal": verdict.signal,
            "result": verdict.result,
            "finished_at": timezone.now(),
        }
    )
    if sandbox:
        values |= _provenance(sandbox)
    if report:
        values |= _from_report(report, fields["limits"]["output_bytes"])
    redactor = None
    if redacting:
        row = Execution.objects.filter(pk=execution_id)
        redacted, redactor = redaction.redacted_end(lambda names: row.values(*names).first(), values)
        values |= redacted
    artifacts = report.artifacts if report else []
    renamed = redactor.names(name for name, _ in artifacts) if redactor else {}
    # A trigger notifies the caller and marks the sandbox as used.
    with transaction.atomic() if artifacts or redactor else nullcontext():
        if redactor:
            _redact_paths(execution_id, redactor)
        mine = {} if attempt is None else {"status": Status.RUNNING, "requeues": attempt}
        # In a web process the audit adds a statement of its own, which cannot be prepared.
        with prepared() if report else nullcontext():
            if not Execution.objects.open().filter(pk=execution_id, **mine).update(**values):
                return False
        if report:
            Artifact.objects.bulk_create(
                Artifact(
                    execution_id=execution_id,
                    name=db_text(renamed.get(name, name)),
                    content=content,
                    size=len(content),
                )
                for name, content in artifacts
            )
    return True


def _redact_paths(execution_id: UUID, redactor: redaction.Redactor) -> None:
    """Redact the paths of an open execution's input files: once it has ended, a trigger refuses that."""
    inputs = InputFile.objects.filter(execution=execution_id, execution__finished_at__isnull=True)
    for path, redacted in redactor.names(inputs.values_list("path", flat=True)).items():
        inputs.filter(path=path).update(path=redacted)


def _provenance(sandbox: Sandbox) -> dict[str, Any]:
    names = (*STARTED_FROM, *STARTED_BY)
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


def cancel(execution_id: UUID, *, outcome: Outcome = Outcome.CALLER_GONE, http: Any = None) -> bool:
    """Cancel an execution: a queued one never starts, a running one loses its sandbox.

    `http`: the request of the person or client who asks for it; the trail records them. Returns False if it has
    already ended.
    """
    with transaction.atomic():
        row = Execution.objects.select_for_update().filter(pk=execution_id, status__in=OPEN).first()
        if row is None:
            return False
        if http is not None and not row.cancel_requested_at:
            statuses = {"before": {"status": row.status}, "after": {"status": Status.CANCELLED.value}}
            acts.done(Kind.CANCELLED, f"execution {row.pk}", row.pk, http=http, behalf=row.behalf, **statuses)
        if row.status == Status.QUEUED:
            return finish(execution_id, cancellation(outcome))
        if not row.cancel_requested_at:
            fields = {"cancel_requested_at": timezone.now(), "cancel_outcome": outcome}
            Execution.objects.filter(pk=execution_id).update(**fields)
            notify(CANCEL, str(execution_id))
        return True
