"""The background task: one execution, one sandbox, one result."""

import logging
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.db.models import Func, PositiveIntegerField
from django.utils import timezone

from clients.models import Client
from executions import live, services
from executions.configuration import RunConfiguration
from executions.models import Execution, Outcome, Status
from executions.sources import starting
from executions.verdict import Verdict, decide
from redaction import services as redaction
from redaction.policies import any_policy_redacts
from runtimes.models import Limits, Runtime
from sandbox_platform.kit import liveness
from sandbox_platform.kit.failures import without_text
from sandbox_platform.kit.notify import POOL, WAITS, listening, notify, ready_channel
from sandbox_platform.kit.prepared import prepared
from sandboxes import pool
from sandboxes.calls import as_payload
from sandboxes.configuration import SandboxConfiguration
from sandboxes.docker_engine import get_engine
from sandboxes.engine import Channel, Engine, EngineError, ImageMissing
from sandboxes.models import Sandbox
from sandboxes.protocol import BYE, Job
from sandboxes.session import EndedBy, Report
from sandboxes.sessions import session_of, state_of

logger = logging.getLogger(__name__)

# The keeper starts sandboxes, many wishes weighed against each other. When it is away, the worker does.
KEEPER_PATIENCE_S = 15
# A call may be lost, or another claim what it was about.
LOOK_AGAIN_S = 2.0
ANSWER_S = 0.03
STORE_PATIENCE_S = 120
PROFILES = ("runtime__seccomp_profile__active", "client__seccomp_profile__active")
# A warm sandbox is found by the hash of its rules. They have tens of kilobytes.
NOT_FOR_A_CLAIM = [
    "runtime__smoke",
    "runtime__packages",
    *(f"{path}__{field}" for path in PROFILES for field in ("rules", "effective", "allow", "deny", "note")),
]


def run_execution(execution_id: str) -> None:
    """Runs a queued execution; returns quietly if it is gone, taken or cancelled."""
    execution = take(execution_id)
    if execution is None:
        return
    try:
        run(execution)
    except ImageMissing:
        slug, image = execution.runtime.slug, execution.runtime.live_image
        give_up(
            execution,
            Outcome.START_FAILED,
            f"The image {image} is not on the node {settings.SANDBOX_NODE}. If it is one of ours, "
            f"`make build RUNTIMES={slug}` builds it.",
        )
    except EngineError as e:
        give_up(execution, Outcome.START_FAILED, f"No sandbox could be started: {e}")
    except Exception as e:
        # The boundary of the worker: whatever it is, the caller must hear of it and the sandbox must go.
        logger.error("execution %s: %s", execution_id, without_text(e))
        give_up(execution, Outcome.INTERNAL, f"The platform failed: {type(e).__name__}. Its log says more.")


def give_up(execution: Execution, outcome: Outcome, message: str) -> None:
    store(lambda: services.finish(execution.pk, Verdict(Status.PLATFORM_ERROR, outcome, message)))


def run(execution: Any) -> None:
    claimed_at = timezone.now()
    engine = get_engine()
    starting.send(Execution, execution=execution)
    configuration = configuration_of(execution)
    sandbox, warm, channel = acquire(engine, configuration, execution)
    sandbox_at = timezone.now()
    limits = configuration.limits
    with closing(channel):
        with watched(execution, limits) as watch:
            session = session_of(execution.runtime, channel, sandbox.container_id, limits, watch)
            report = session.run(job_of(execution, limits))
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
                environment=configuration.environment,
                redacting=execution.redacting,
            )
        )
        end(engine, sandbox, channel, report)


def watched(execution: Any, limits: Limits) -> AbstractContextManager[Callable[[Report], None] | None]:
    """Live output, unless what is stored is to be redacted: a secret may lie across two pieces of it."""
    if execution.redacting and redaction.applies_to(execution.client_id):
        return nullcontext()
    return live.output(execution.pk, limits.output_bytes)


def take(execution_id: str) -> Any:
    """Only one worker can turn queued into running. The execution, with `redacting`: whether any policy redacts;
    None for the others."""
    with prepared():
        taken = Execution.objects.filter(pk=execution_id, status=Status.QUEUED).update(
            status=Status.RUNNING,
            node=settings.SANDBOX_NODE,
            # Asked of Postgres in the UPDATE itself: the session known here may be dead, and replaced by it.
            worker_backend=Func(function="pg_backend_pid", output_field=PositiveIntegerField()),
            claimed_at=timezone.now(),
        )
        if not taken:
            return None
        rows = Execution.objects.select_related("runtime", "client", *PROFILES).defer(*NOT_FOR_A_CLAIM)
        return rows.annotate(redacting=any_policy_redacts()).get(pk=execution_id)


def configuration_of(execution: Execution) -> SandboxConfiguration:
    """Return what its sandbox is started from: what is in force now, unless it is pinned. Raises EngineError."""
    stored = RunConfiguration.stored(execution)
    if execution.pinned:
        return stored.as_recorded(execution.runtime)
    return stored.in_force(execution.runtime, execution.client)


def acquire(
    engine: Engine, configuration: SandboxConfiguration, execution: Execution
) -> tuple[Sandbox, bool, Channel]:
    """A sandbox for this execution, whether it was waiting, and its stdin and stdout. Raises EngineError."""
    if execution.pinned or not configuration.is_pooled:
        started = start(engine, execution)
        return started, False, engine.attach(started.container_id)
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
    kept = wait_for_keeper(configuration, execution, give_up)
    sandbox = kept or start(engine, execution)
    return sandbox, warm, engine.attach(sandbox.container_id)


def start(engine: Engine, execution: Execution) -> Sandbox:
    """One for this execution alone, under the profile that is in force when it is ready."""
    while True:
        wanted = configuration_of(with_profiles_of_now(execution))
        sandbox = pool.start(engine, wanted, execution_id=execution.pk)
        if configuration_of(with_profiles_of_now(execution)).profile_sha256 == sandbox.profile_sha256:
            return sandbox
        pool.discard(sandbox)


def with_profiles_of_now(execution: Execution) -> Execution:
    """An activation while it waited, or while its sandbox started, counts."""
    runtimes = Runtime.objects.select_related("seccomp_profile__active")
    execution.runtime.seccomp_profile = runtimes.get(pk=execution.runtime.pk).seccomp_profile
    if execution.client:
        clients = Client.objects.select_related("seccomp_profile__active")
        execution.client.seccomp_profile = clients.get(pk=execution.client.pk).seccomp_profile
    return execution


def wait_for_keeper(configuration: SandboxConfiguration, execution: Execution, give_up: float) -> Sandbox | None:
    """The sandbox that the keeper starts for us; None if it is dead, or too slow."""
    runtime = Runtime.objects.filter(pk=configuration.runtime.pk, revision=configuration.revision)
    with listening(ready_channel(execution.pk)) as wait:
        # Of one that was changed meanwhile the keeper starts no more.
        while time.monotonic() < give_up and liveness.keeper_alive(settings.SANDBOX_NODE) and runtime.exists():
            notify(POOL, f"{WAITS}{as_payload(configuration.kind, execution.pk)}")
            if sandbox := pool.claim(configuration, execution.pk):
                return sandbox
            if wait(LOOK_AGAIN_S) and (sandbox := pool.claim(configuration, execution.pk)):
                return sandbox
    return None


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
        state = None  # Docker itself is gone; the verdict says that the sandbox was lost
    return decide(report, state, limits, cancelled=cancel_outcome(execution))


def cancel_outcome(execution: Execution) -> str:
    """Of a cancellation that was asked for meanwhile; "" if none was."""
    return str(store(Execution.objects.values_list("cancel_outcome", flat=True).get, pk=execution.pk))


def end(engine: Engine, sandbox: Sandbox, channel: Channel, report: Report) -> None:
    """Nothing runs in there any more when this returns, or very soon after; the keeper tidies up."""
    try:
        if report.ended_by is EndedBy.STREAM:
            return
        if report.ended_by is EndedBy.RUNNER:
            # Taking gVisor down costs more than the answer, which is on its way now.
            time.sleep(ANSWER_S)
            channel.send(BYE)
        else:
            engine.kill(sandbox.container_id)
    except EngineError as e:
        logger.warning("sandbox %s: %s; the keeper will remove it", sandbox, e)


def store(write: Callable[..., Any], **arguments: Any) -> Any:
    """Do it, outlasting a restart of Postgres: the result of a run exists only here until it is stored."""
    give_up = time.monotonic() + STORE_PATIENCE_S
    while True:
        try:
            return write(**arguments)
        except (OperationalError, InterfaceError) as e:
            if time.monotonic() > give_up:
                raise
            logger.warning("storing a result: Postgres is away (%s)", type(e).__name__)
            connection.close()
            time.sleep(0.5)
