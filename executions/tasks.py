"""The worker's task: run one execution in one sandbox and store its result."""

import logging
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.db.models import Func, PositiveIntegerField, QuerySet
from django.utils import timezone

from executions import live, services
from executions.acquisition import acquire, configuration_of
from executions.configuration import COLUMNS
from executions.models import Execution, Outcome, Status
from executions.requeueing import recover
from executions.sources import starting
from executions.verdict import Verdict, decide
from redaction import services as redaction
from redaction.policies import any_policy_redacts
from runtimes.models import Limits
from sandbox_platform.kit import liveness, request_ids, tracing
from sandbox_platform.kit.compiled import Compiled
from sandbox_platform.kit.failures import without_text
from sandbox_platform.kit.prepared import prepared
from sandboxes import pool
from sandboxes.engine import Channel, Engine, EngineError, ImageMissing
from sandboxes.engines import get_engine
from sandboxes.models import Sandbox
from sandboxes.protocol import BYE, Job
from sandboxes.session import EndedBy, Report
from sandboxes.sessions import session_of, state_of
from sandboxes.sources.source import DOCKER, REMEDIES

logger = logging.getLogger(__name__)

ANSWER_S = 0.03  # head start of the answer before gVisor is taken down
STORE_PATIENCE_S = 120
# psycopg's own errors come from waiting for notifications, which Django does not wrap.
POSTGRES_IS_GONE = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)
# Columns of a claimed execution that a run reads. Building and reading a query costs by the column, and every run waits
# for this one. A column that is missing here costs a query of its own. A warm sandbox is found by the hash of the
# rules; the rules, which are tens of kilobytes, are read if a sandbox must be started.
RELATED = ("runtime__seccomp_profile__active", "client__seccomp_profile__active")
OF_RUNTIME = (
    *("slug", "image", "built_image", "built_on", "revision", "source_file", "environment", "network"),
    *("runner", "compile_command", "run_command", "function_command", "preload", "preload_when_idle"),
    *Limits.__dataclass_fields__,
)
OF_PROFILE = ("name", "active__number", "active__sha256")
READ_COLUMNS = (
    *("mode", "code", "source_file", "arguments", "stdin", "argv", "variables", "input_count", "pinned"),
    *("egress_rules", "requeues", "request_id", "traceparent", *COLUMNS),
    *(f"runtime__{name}" for name in OF_RUNTIME),
    *("client__name", "client__network"),
    *(f"{owner}__seccomp_profile__{name}" for owner in ("runtime", "client") for name in OF_PROFILE),
)
# The pid is evaluated in the UPDATE: one that was read earlier may belong to a dead session, which the UPDATE replaced.
TAKE = """
    UPDATE executions_execution
    SET status = 'running', node = %s, worker_backend = pg_backend_pid(), worker_cluster = %s, claimed_at = %s
    WHERE id = %s AND status = 'queued'
"""


def taken(pk: UUID) -> QuerySet[Execution]:
    """Return the execution, unless the session was replaced since it was taken: then it may be another worker's."""
    rows = Execution.objects.select_related("runtime", "client", *RELATED).only(*READ_COLUMNS)
    backend = Func(function="pg_backend_pid", output_field=PositiveIntegerField())
    mine = rows.annotate(redacting=any_policy_redacts()).filter(status=Status.RUNNING, worker_backend=backend)
    return mine.filter(pk=pk)


TAKEN = Compiled(taken, pk=UUID(int=0))


def run_execution(execution_id: str, traceparent: str = "") -> None:
    """Claim and run a queued execution. Do nothing if it is deleted, claimed by another worker or cancelled.

    `traceparent`: given by tasks that an earlier release queued.
    """
    execution = store(take, execution_id=execution_id)
    if execution is None:
        return
    parent = execution.traceparent or traceparent
    with (
        request_ids.serving(execution.request_id),
        tracing.span("execution", parent=parent, kind="consumer", **ids_of(execution)),
    ):
        tracing.past("queue", execution.enqueued_at, timezone.now())
        attempt(execution)


def ids_of(execution: Any) -> dict[str, Any]:
    return {
        "sandbox.execution_id": str(execution.pk),
        "sandbox.request_id": execution.request_id,
        "sandbox.runtime": execution.runtime.slug,
        "sandbox.client_id": execution.client_id or 0,
    }


def attempt(execution: Any) -> None:
    """Run the execution, and store its end whatever happens."""
    execution_id = execution.pk
    try:
        run(execution)
    except pool.Superseded:
        logger.warning("execution %s was queued again meanwhile", execution_id)
    except ImageMissing:
        slug, image = execution.runtime.slug, execution.runtime.live_image
        remedy = f"If the image is one of the platform's, run `make build RUNTIMES={slug}`."
        if settings.SANDBOX_IMAGE_SOURCE != DOCKER:
            remedy = f"An administrator can {REMEDIES[settings.SANDBOX_IMAGE_SOURCE]}."
        give_up(
            execution,
            Outcome.START_FAILED,
            f"Sandbox start failed: the image {image} is not on the node {settings.SANDBOX_NODE}. {remedy}",
        )
    except EngineError as e:
        give_up(execution, Outcome.START_FAILED, f"Sandbox start failed: {e}")
    except Exception as e:
        # Catch everything here: the caller must get an answer, and the sandbox must be removed.
        if isinstance(e, POSTGRES_IS_GONE) and not execution.job_sent:
            logger.warning("execution %s: Postgres is unavailable (%s)", execution_id, type(e).__name__)
            store(recover, execution_id=execution.pk, requeues=execution.requeues, job_sent=False)
            return
        logger.error("execution %s: %s", execution_id, without_text(e))
        give_up(execution, Outcome.INTERNAL, f"Internal error: {type(e).__name__}. See the worker's log.")


def give_up(execution: Any, outcome: Outcome, message: str) -> None:
    store(
        services.finish,
        execution_id=execution.pk,
        verdict=Verdict(Status.PLATFORM_ERROR, outcome, message),
        attempt=execution.requeues,
        started=execution.job_sent,
    )


def run(execution: Any) -> None:
    claimed_at = timezone.now()
    engine = get_engine()
    starting.send(Execution, execution=execution)
    configuration = configuration_of(execution)
    with tracing.span("claim") as claim:
        sandbox, warm, channel = acquire(engine, configuration, execution)
        tracing.link(claim, sandbox.traceparent)
    sandbox_at = timezone.now()
    limits = configuration.limits
    with closing(channel):
        with watched(execution, limits) as watch:
            session = session_of(execution.runtime, channel, sandbox.container_id, limits, watch)
            job = job_of(execution, limits)
            execution.job_sent = True
            with tracing.span("run", **{"sandbox.sandbox_id": sandbox.container_id}):
                report = session.run(job)
        verdict = judge(engine, sandbox, execution, report, limits)
        with tracing.span("store", **{"sandbox.status": verdict.status, "sandbox.outcome": verdict.outcome}):
            store(
                services.finish,
                execution_id=execution.pk,
                verdict=verdict,
                attempt=execution.requeues,
                report=report,
                sandbox=sandbox,
                claimed_at=claimed_at,
                sandbox_at=sandbox_at,
                warm=warm and not (report.end and report.end.cold),
                limits=limits.as_dict(),
                environment=configuration.environment,
                redacting=execution.redacting,
            )
        tell(execution, sandbox, verdict, report)
        end(engine, sandbox, channel, report)


def tell(execution: Any, sandbox: Sandbox, verdict: Verdict, report: Report) -> None:
    """Write the end into the log, after the answer is on its way."""
    begun, ended = report.started_at, report.ended_at
    logger.info(
        "execution %s: %s",
        execution.pk,
        verdict.outcome.value,
        extra={
            "execution_id": str(execution.pk),
            "sandbox_id": sandbox.container_id,
            "client_id": execution.client_id,
            "runtime": execution.runtime.slug,
            "status": verdict.status.value,
            "outcome": verdict.outcome.value,
            "duration_ms": round((ended - begun).total_seconds() * 1000, 1) if begun and ended else None,
        },
    )


def watched(execution: Any, limits: Limits) -> AbstractContextManager[Callable[[Report], bool] | None]:
    """Publish live output, unless a redaction policy applies: a secret may be split between two pieces of output."""
    if execution.redacting and redaction.applies_to(execution.client_id):
        return nullcontext()
    return live.output(execution.pk, limits.output_bytes)


def take(execution_id: str) -> Any:
    """Claim the execution and return it with `redacting` (whether any policy redacts) and `job_sent` (False).

    Returns None if the execution is not queued any more: the UPDATE lets only one worker claim it.
    """
    with prepared(), connection.cursor() as cursor:
        cursor.execute(TAKE, [settings.SANDBOX_NODE, liveness.cluster_key(), timezone.now(), execution_id])
        if not cursor.rowcount:
            return None
    execution: Any = next(iter(TAKEN(pk=UUID(execution_id))), None)
    if execution:
        execution.job_sent = False
    return execution


def job_of(execution: Execution, limits: Limits) -> Job:
    files = execution.input_files.all() if execution.input_count else ()
    return Job(
        mode=execution.mode,
        code=execution.code,
        source_file=execution.source_file or execution.runtime.source_file,
        arguments=execution.arguments,
        stdin=execution.stdin,
        argv=execution.argv,
        environment=execution.variables,
        output_bytes=limits.output_bytes,
        output_action=limits.output_action,
        result_bytes=limits.result_bytes,
        artifact_count=limits.artifact_count,
        artifact_bytes=limits.artifact_bytes,
        artifact_suffixes=execution.artifact_suffixes,
        files=[{"path": f.path, "base64": b64encode(f.content).decode()} for f in files],
    )


def judge(engine: Engine, sandbox: Sandbox, execution: Execution, report: Report, limits: Limits) -> Verdict:
    if report.ended_by not in (EndedBy.LOST, EndedBy.STREAM):
        return decide(report, None, limits)
    try:
        state = state_of(engine, sandbox.container_id, report)
    except EngineError:
        state = None  # Docker is down: the outcome is sandbox_lost
    return decide(report, state, limits, cancelled=cancel_outcome(execution))


def cancel_outcome(execution: Execution) -> str:
    """Return the outcome of a cancellation that was requested during the run, or "" if there is none."""
    return str(store(Execution.objects.values_list("cancel_outcome", flat=True).get, pk=execution.pk))


def end(engine: Engine, sandbox: Sandbox, channel: Channel, report: Report) -> None:
    """Stop everything in the sandbox, at once or soon after the return. The keeper removes the container."""
    try:
        if report.ended_by is EndedBy.STREAM:
            return
        if report.ended_by is EndedBy.RUNNER:
            # Taking gVisor down takes more CPU than sending the answer, which is on its way now.
            time.sleep(ANSWER_S)
            channel.send(BYE)
        else:
            engine.kill(sandbox.container_id)
    except EngineError as e:
        logger.warning("sandbox %s: %s; the keeper will remove it", sandbox, e)


def store(write: Callable[..., Any], **arguments: Any) -> Any:
    """Call `write` and return its value. Retry for STORE_PATIENCE_S while Postgres is unavailable.

    Until it is stored, the result of a run exists only in this process. `write` may have been committed when its
    connection broke, so it must do nothing the second time.
    """
    deadline = time.monotonic() + STORE_PATIENCE_S
    while True:
        try:
            return write(**arguments)
        except POSTGRES_IS_GONE as e:
            if time.monotonic() > deadline:
                raise
            logger.warning("storing a result: Postgres is unavailable (%s), retrying", type(e).__name__)
            connection.close()
            time.sleep(0.5)
