"""Start, claim and retire sandboxes: the rows of the pool."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from runtimes.models import Network
from sandbox_platform.kit import tracing
from sandbox_platform.kit.notify import CLAIMED, POOL, READY, notify, ready_channel
from sandbox_platform.kit.prepared import prepared
from sandboxes import doors, session, turns
from sandboxes.calls import SandboxKind, as_payload, no_call
from sandboxes.configuration import SandboxConfiguration
from sandboxes.engine import Engine, EngineError
from sandboxes.models import Sandbox, SandboxState
from sandboxes.turns import OF_KIND, PLACES, SERVED, Claimant, of_kind
from seccomp_profiles.models import hash_rules

logger = logging.getLogger(__name__)

# A ready sandbox that the run can use. The profile must be the one in force now, which may have changed while the run
# waited. A profile without an active revision matches no sandbox.
USABLE = """
    node = %(node)s AND runtime_id = %(runtime)s AND state = 'ready' AND runtime_revision = %(revision)s
    AND network = %(network)s AND profile_sha256 = (
        SELECT CASE WHEN runtime.seccomp_profile_id IS NULL THEN %(unconfined)s ELSE revision.sha256 END
        FROM runtimes_runtime runtime
        LEFT JOIN seccomp_profiles_seccompprofile profile ON profile.id = runtime.seccomp_profile_id
        LEFT JOIN seccomp_profiles_seccomprevision revision ON revision.id = profile.active_id
        WHERE runtime.id = executions_sandbox.runtime_id)
"""
COLUMNS = {field.attname: f"claimed.{field.column}" for field in Sandbox._meta.concrete_fields}
# Claims the oldest sandbox: it has had the most time to preload. If other runs wait, as many sandboxes must be ready as
# runs come before this one, and one more. The execution's row is locked until the claim is committed, so that it is
# either claimed for or queued again (see executions.requeueing), never both: then a claim is refused that was made for
# the earlier attempt. The row of a claimed sandbox is the mark that a program may have started. It must survive a crash
# of Postgres, whatever the server's synchronous_commit is.
CLAIM = f"""
    WITH execution AS MATERIALIZED (
        SELECT status, requeues FROM executions_execution WHERE id = %(execution)s FOR SHARE
    ), other AS (
        SELECT execution_id, client_id FROM sandboxes_wait WHERE {OF_KIND} AND execution_id <> %(execution)s
    ), waiting AS (
        SELECT execution_id, client_id FROM other UNION ALL SELECT %(execution)s::uuid, %(client)s::bigint
    ), {PLACES}, picked AS (
        SELECT id FROM executions_sandbox
        WHERE {USABLE}
          AND NOT EXISTS (SELECT FROM execution WHERE status <> 'running' OR requeues <> %(requeues)s)
          AND (
            NOT EXISTS (SELECT FROM other)
            OR (SELECT number FROM place WHERE execution_id = %(execution)s)
                <= (SELECT count(*) FROM executions_sandbox WHERE {USABLE})
          )
        ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1
    ), claimed AS (
        UPDATE executions_sandbox s
        SET state = 'claimed', execution_id = %(execution)s, claimed_at = clock_timestamp()
        FROM picked WHERE s.id = picked.id RETURNING s.*
    ), gone AS (
        DELETE FROM sandboxes_wait WHERE execution_id = (SELECT execution_id FROM claimed)
    ), {SERVED}
    SELECT {", ".join(COLUMNS.values())}, pg_notify(%(channel)s, %(notice)s) AS notified,
        set_config('synchronous_commit', 'on', true) AS durable
    FROM claimed
"""  # noqa: S608
# For a sandbox that is started for a run, as the CTE `execution` of CLAIM.
CURRENT = """
    SELECT status = 'running' AND requeues = %s AND set_config('synchronous_commit', 'on', true) IS NOT NULL
    FROM executions_execution WHERE id = %s FOR SHARE
"""


class Superseded(Exception):
    """The sandbox was taken away during its start, or its execution was queued again meanwhile."""


def claim(configuration: SandboxConfiguration, claimant: Claimant) -> Sandbox | None:
    """Claim a ready sandbox of this node for the run.

    Returns None if there is none, if those that are ready are for runs whose turn comes first, or if the execution was
    queued again.
    """
    parameters = of_kind(configuration.kind) | {
        "revision": configuration.runtime.revision,
        "unconfined": hash_rules(None),
        "execution": claimant.execution_id,
        "client": claimant.client_id,
        "requeues": claimant.requeues,
        "channel": POOL,
        "notice": f"{CLAIMED}{as_payload(configuration.kind, claimant.execution_id)}",
    }
    with prepared(), connection.cursor() as cursor:
        cursor.execute(CLAIM, parameters)
        claimed = cursor.fetchone()
    return Sandbox.from_db(connection.alias, list(COLUMNS), claimed[: len(COLUMNS)]) if claimed else None


def start(
    engine: Engine,
    configuration: SandboxConfiguration,
    *,
    claimant: Claimant | None = None,
    held: bool = False,
    call: Callable[[SandboxKind], Iterable[str]] = no_call,
    parent: str | None = None,
) -> Sandbox:
    """Start a sandbox and return it when its runner waits for a job. Raises EngineError and Superseded.

    `claimant`: the sandbox is claimed for this run; otherwise any run may claim it.
    `held`: the sandbox stays in the state starting, in which no run can claim it.
    `call`: returns the executions to notify that the sandbox is ready (see Calls.next).
    `parent`: the span that it belongs to; None: the current one.
    """
    ids = {"sandbox.runtime": configuration.runtime.slug, "sandbox.network": configuration.network}
    with tracing.span("start", parent=parent, **ids) as span:
        sandbox = _start(engine, configuration, claimant, held, call)
        if span is not None:
            span.set_attribute("sandbox.sandbox_id", sandbox.container_id)
        return sandbox


def _start(
    engine: Engine,
    configuration: SandboxConfiguration,
    claimant: Claimant | None,
    held: bool,
    call: Callable[[SandboxKind], Iterable[str]],
) -> Sandbox:
    runtime = configuration.runtime
    sandbox = Sandbox(
        node=settings.SANDBOX_NODE,
        runtime=runtime,
        runtime_revision=configuration.revision,
        profile_name=configuration.profile_name,
        profile_revision=configuration.profile_revision,
        profile_sha256=configuration.profile_sha256,
        network=configuration.network,
        runsc_version=engine.version(),
        engine=engine.name,
        execution_id=claimant.execution_id if claimant else None,
        held=held,
        traceparent=tracing.traceparent(),
    )
    with _current(claimant):
        sandbox.save(force_insert=True)
    try:
        sandbox.image_id = engine.image_id(configuration.image)
        door = ""
        if configuration.network == Network.EGRESS:
            # A held sandbox runs no execution: its door leads nowhere. The keeper does not wait for the gateway: it
            # has other sandboxes to start meanwhile.
            patience_s = doors.RESTART_S if claimant else 0
            door = doors.make(None if held else sandbox.pk, patience_s=patience_s)
        with tracing.span("create"):
            sandbox.container_id = engine.create(configuration.spec(sandbox, door))
        channel = engine.attach(sandbox.container_id)
        try:
            with tracing.span("boot"):
                engine.start(sandbox.container_id)
                session.wait_until_ready(channel, sandbox.container_id)
        finally:
            channel.close()
    except EngineError:
        retire(sandbox)
        raise
    if not held:
        sandbox.state = SandboxState.CLAIMED if claimant else SandboxState.READY
        sandbox.ready_at = timezone.now()
    stored = {name: getattr(sandbox, name) for name in ("image_id", "container_id", "state", "ready_at")}
    starting = Sandbox.objects.filter(
        pk=sandbox.pk, state=SandboxState.STARTING, execution_id=sandbox.execution_id
    )
    with _current(claimant):
        if not starting.update(**stored):
            raise Superseded
        if sandbox.state == SandboxState.READY:
            for called in call(sandbox.kind):
                notify(ready_channel(called))
            notify(POOL, READY)
    return sandbox


@contextmanager
def _current(claimant: Claimant | None) -> Iterator[None]:
    """Open a transaction that is void if the run is: it locks the execution's row, as CLAIM does.

    Raises Superseded.
    """
    with transaction.atomic():
        if claimant:
            with connection.cursor() as cursor:
                cursor.execute(CURRENT, [claimant.requeues, claimant.execution_id])
                if cursor.fetchone() == (False,):
                    raise Superseded
        yield


def release(execution_id: UUID, *, claimed: bool) -> None:
    """Take the execution's sandbox away, which may be starting, and its place among the waiting runs.

    `claimed`: a claimed sandbox as well; the caller knows that it got no job.
    """
    turns.leave(execution_id)
    states = [SandboxState.STARTING, SandboxState.USED, *([SandboxState.CLAIMED] if claimed else [])]
    given = Sandbox.objects.filter(execution_id=execution_id, state__in=states)
    if given.update(state=SandboxState.USED, execution_id=None):
        notify(POOL)


def has_claimed(execution_id: UUID) -> bool:
    """Return whether a sandbox is claimed for the execution, which may have got its job."""
    return Sandbox.objects.filter(execution_id=execution_id, state=SandboxState.CLAIMED).exists()


def discard(sandbox: Sandbox) -> None:
    """Mark a claimed sandbox that turned out to be dead as used. Its execution may claim another."""
    Sandbox.objects.filter(pk=sandbox.pk).update(state=SandboxState.USED, execution_id=None)
    notify(POOL)


def retire(sandbox: Sandbox) -> None:
    """Mark the sandbox as used. The keeper removes its container, then its row."""
    fields = ["state"]
    sandbox.state = SandboxState.USED
    if sandbox.container_id:
        fields.append("container_id")
    sandbox.save(update_fields=fields)
    notify(POOL)
