"""What happens to executions; the API, the admin and the tasks all come through here."""

import hashlib
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat
from django.db import transaction
from django.utils import timezone
from django_q.tasks import async_task

from executions.models import Artifact, Client, Execution, Mode, Outcome, Sandbox, Status
from executions.models.execution import OPEN
from executions.notify import CANCEL, notify
from executions.sandbox.session import Report
from executions.sandbox.verdict import Verdict
from runtimes import code_policy
from runtimes.models import CodePolicy, Runtime

TASK = "executions.tasks.run_execution"


def db_text(text: str) -> str:
    """Text as Postgres can hold it: without NUL and without lone surrogates."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


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
    client: Client | None = None
    remote_address: str | None = None
    callback_url: str = ""  # checked by callbacks.addresses.check_url
    # Chosen by a caller who waits for it: it listens before the run can end.
    execution_id: UUID = field(default_factory=uuid_utils.compat.uuid7)


def submit(request: Request, *, policy: str) -> Execution:
    """Record the execution and queue it, or record why not. The row exists when this returns."""
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
        queued_at=(now := timezone.now()),
        enqueued_at=now,
        runtime_revision=request.runtime.revision,
        limits=request.runtime.limits.as_dict(),
        environment=request.runtime.environment,
        remote_address=request.remote_address,
        callback_url=request.callback_url,
    )
    if not request.runtime.enabled:
        message = f"The runtime {request.runtime.slug} is switched off; an administrator can enable it."
        return _reject(execution, Outcome.RUNTIME_DISABLED, message)
    if policy != CodePolicy.OFF:
        found = code_policy.check(request.code, request.runtime.slug, request.runtime.disabled_rules)
        execution.policy_violations = [
            {"rule": v.rule, "line": v.line, "message": db_text(v.message)} for v in found
        ]
        if found and policy == CodePolicy.BLOCK:
            return _reject(execution, Outcome.CODE_POLICY, "\n".join(db_text(str(v)) for v in found))
    with transaction.atomic():
        execution.save(force_insert=True)
        async_task(TASK, str(execution.pk), task_name=str(execution.pk))
    return execution


def _reject(execution: Execution, outcome: Outcome, message: str) -> Execution:
    execution.status, execution.outcome, execution.message = Status.REJECTED, outcome, message
    execution.finished_at = timezone.now()
    execution.save(force_insert=True)
    return execution


def finish(
    execution_id: UUID,
    verdict: Verdict,
    *,
    report: Report | None = None,
    sandbox: Sandbox | None = None,
    **fields: Any,
) -> bool:
    """Store the end of a queued or running execution, once. False if somebody else already did.

    A `report` comes with the `limits` it ran under, among `fields`.
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
    return {
        "sandbox_id": sandbox.container_id,
        "node": sandbox.node,
        "image_id": sandbox.image_id,
        "runtime_revision": sandbox.runtime_revision,
        "profile_name": sandbox.profile_name,
        "profile_sha256": sandbox.profile_sha256,
        "runsc_version": sandbox.runsc_version,
    }


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


def cancel(execution_id: UUID, *, now: datetime | None = None) -> None:
    """End it as soon as possible: a queued one never starts, a running one's sandbox is killed."""
    verdict = Verdict(Status.CANCELLED, Outcome.CALLER_GONE, "Cancelled: the caller hung up.")
    with transaction.atomic():
        row = Execution.objects.select_for_update().filter(pk=execution_id, status__in=OPEN).first()
        if row is None:
            return
        if row.status == Status.QUEUED:
            finish(execution_id, verdict)
            return
        Execution.objects.filter(pk=execution_id).update(cancel_requested_at=now or timezone.now())
        notify(CANCEL, str(execution_id))
