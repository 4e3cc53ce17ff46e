"""The background task: one execution, one sandbox, one result."""

import logging
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.db.models import Func, PositiveIntegerField
from django.utils import timezone

from executions import live, liveness, services
from executions.models import Execution, Outcome, Sandbox, Status
from executions.notify import POOL, READY, listening, notify
from executions.sandbox import pool
from executions.sandbox.docker_engine import get_engine
from executions.sandbox.engine import Channel, ContainerState, Engine, EngineError
from executions.sandbox.protocol import BYE, Job
from executions.sandbox.session import EndedBy, Report, Session
from executions.sandbox.verdict import Verdict, decide
from runtimes.models import Limits

logger = logging.getLogger(__name__)

# The keeper starts sandboxes, many wishes weighed against each other. When it is away, the worker does.
KEEPER_PATIENCE_S = 15
ANSWER_S = 0.03
STORE_PATIENCE_S = 120
RAGFLOW_SUFFIXES = [".png", ".jpg", ".jpeg", ".svg", ".pdf", ".csv", ".json", ".html"]


def run_execution(execution_id: str) -> None:
    """Runs a queued execution; returns quietly if it is gone, taken or cancelled."""
    execution = take(execution_id)
    if execution is None:
        return
    try:
        run(execution)
    except EngineError as e:
        give_up(execution, Outcome.START_FAILED, f"No sandbox could be started: {e}")
    except Exception as e:
        # The boundary of the worker: whatever it is, the caller must hear of it and the sandbox must go.
        logger.exception("execution %s", execution_id)
        give_up(execution, Outcome.INTERNAL, f"The platform failed: {type(e).__name__}. Its log says more.")


def give_up(execution: Execution, outcome: Outcome, message: str) -> None:
    store(lambda: services.finish(execution.pk, Verdict(Status.PLATFORM_ERROR, outcome, message)))


def run(execution: Execution) -> None:
    claimed_at = timezone.now()
    engine = get_engine()
    configuration = pool.Configuration(execution.runtime)
    sandbox, warm, channel = acquire(engine, configuration, execution)
    sandbox_at = timezone.now()
    limits = configuration.runtime.limits
    with closing(channel):
        with live.output(execution.pk, limits.output_bytes) as watch:
            report = Session(channel, sandbox.container_id, limits, watch).run(job_of(execution, configuration))
        verdict = judge(engine, sandbox, execution, report, limits)
        store(
            lambda: services.finish(
                execution.pk,
                verdict,
                report=report,
                sandbox=sandbox,
                claimed_at=claimed_at,
                sandbox_at=sandbox_at,
                warm=warm,
                limits=limits.as_dict(),
                environment=configuration.runtime.environment,
            )
        )
        end(engine, sandbox, channel, report)


def take(execution_id: str) -> Execution | None:
    """Only one worker can turn queued into running."""
    taken = Execution.objects.filter(pk=execution_id, status=Status.QUEUED).update(
        status=Status.RUNNING,
        node=settings.SANDBOX_NODE,
        # Asked of Postgres in the UPDATE itself: the session known here may be dead, and replaced by it.
        worker_backend=Func(function="pg_backend_pid", output_field=PositiveIntegerField()),
        claimed_at=timezone.now(),
    )
    if not taken:
        return None
    return Execution.objects.select_related("runtime__seccomp_profile").get(pk=execution_id)


def acquire(
    engine: Engine, configuration: pool.Configuration, execution: Execution
) -> tuple[Sandbox, bool, Channel]:
    """A sandbox for this execution, whether it was waiting, and its stdin and stdout. Raises EngineError."""
    warm = True
    give_up = time.monotonic() + KEEPER_PATIENCE_S
    while time.monotonic() < give_up and (sandbox := pool.claim(configuration, execution.pk)):
        try:
            return sandbox, warm, engine.attach(sandbox.container_id)
        except EngineError as e:
            # It died while it waited: Docker was restarted, or somebody removed it by hand.
            logger.warning("sandbox %s was dead: %s", sandbox, e)
            pool.discard(sandbox)
    warm = False
    sandbox = wait_for_keeper(configuration, execution, give_up) or pool.start(
        engine, configuration, execution_id=execution.pk
    )
    return sandbox, warm, engine.attach(sandbox.container_id)


def wait_for_keeper(configuration: pool.Configuration, execution: Execution, give_up: float) -> Sandbox | None:
    """The sandbox that the keeper starts for us; None if it is dead, or too slow."""
    mine = str(configuration.runtime.pk)
    with listening(READY) as wait:
        notify(POOL)
        while time.monotonic() < give_up and liveness.keeper_alive(settings.SANDBOX_NODE):
            look_again = time.monotonic() + 1.0
            while time.monotonic() < look_again:
                if sandbox := pool.claim(configuration, execution.pk):
                    return sandbox
                # Other runtimes' sandboxes are none of our business.
                while (left := look_again - time.monotonic()) > 0:
                    if any(heard.payload == mine for heard in wait(left)):
                        break
    return None


def job_of(execution: Execution, configuration: pool.Configuration) -> Job:
    limits = configuration.runtime.limits
    return Job(
        mode=execution.mode,
        code=execution.code,
        source_file=configuration.runtime.source_file,
        arguments=execution.arguments,
        stdin=execution.stdin,
        argv=execution.argv,
        environment={},
        output_bytes=limits.output_bytes,
        output_action=limits.output_action,
        result_bytes=limits.result_bytes,
        artifact_count=limits.artifact_count,
        artifact_bytes=limits.artifact_bytes,
        artifact_suffixes=RAGFLOW_SUFFIXES if execution.endpoint == "ragflow" else None,
    )


def judge(engine: Engine, sandbox: Sandbox, execution: Execution, report: Report, limits: Limits) -> Verdict:
    if report.ended_by is not EndedBy.LOST:
        return decide(report, None, limits, cancelled=False)
    return decide(report, state_of(engine, sandbox), limits, cancelled=cancel_requested(execution))


def state_of(engine: Engine, sandbox: Sandbox) -> ContainerState | None:
    try:
        return engine.state_after_end(sandbox.container_id)
    except EngineError:
        return None  # Docker itself is gone; the verdict says that the sandbox was lost


def cancel_requested(execution: Execution) -> bool:
    rows = Execution.objects.filter(pk=execution.pk, cancel_requested_at__isnull=False)
    return bool(store(rows.exists))


def end(engine: Engine, sandbox: Sandbox, channel: Channel, report: Report) -> None:
    """Nothing runs in there any more when this returns, or very soon after; the keeper tidies up."""
    try:
        if report.ended_by is EndedBy.RUNNER:
            # Taking gVisor down costs more than the answer, which is on its way now.
            time.sleep(ANSWER_S)
            channel.send(BYE)
        else:
            engine.kill(sandbox.container_id)
    except EngineError as e:
        logger.warning("sandbox %s: %s; the keeper will remove it", sandbox, e)


def store(write: Callable[[], Any]) -> Any:
    """Do it, outlasting a restart of Postgres: the result of a run exists only here until it is stored."""
    give_up = time.monotonic() + STORE_PATIENCE_S
    while True:
        try:
            return write()
        except (OperationalError, InterfaceError) as e:
            if time.monotonic() > give_up:
                raise
            logger.warning("storing a result: Postgres is away (%s)", type(e).__name__)
            connection.close()
            time.sleep(0.5)
