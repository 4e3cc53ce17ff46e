"""Start, claim and retire sandboxes: the rows of the pool."""

import logging
from collections.abc import Callable
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from runtimes.models import Network
from sandbox_platform.kit.notify import CLAIMED, POOL, READY, notify, ready_channel
from sandbox_platform.kit.prepared import prepared
from sandboxes import doors, session
from sandboxes.calls import SandboxKind, as_payload, no_call
from sandboxes.configuration import SandboxConfiguration
from sandboxes.engine import Engine, EngineError
from sandboxes.models import Sandbox, SandboxState
from seccomp_profiles.models import hash_rules

logger = logging.getLogger(__name__)

# Claims the oldest sandbox first: it has had the most time to preload. The profile must be the one in force now, which
# may have changed while the run waited. A profile without an active revision matches no sandbox.
CLAIM = """
    WITH picked AS (
        SELECT id FROM executions_sandbox
        WHERE node = %s AND runtime_id = %s AND state = 'ready' AND runtime_revision = %s
          AND network = %s AND profile_sha256 = (
            SELECT CASE WHEN runtime.seccomp_profile_id IS NULL THEN %s ELSE revision.sha256 END
            FROM runtimes_runtime runtime
            LEFT JOIN seccomp_profiles_seccompprofile profile ON profile.id = runtime.seccomp_profile_id
            LEFT JOIN seccomp_profiles_seccomprevision revision ON revision.id = profile.active_id
            WHERE runtime.id = executions_sandbox.runtime_id)
        ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1
    ), claimed AS (
        UPDATE executions_sandbox s SET state = 'claimed', execution_id = %s, claimed_at = clock_timestamp()
        FROM picked WHERE s.id = picked.id RETURNING s.*
    )
    SELECT claimed.*, pg_notify(%s, %s) AS notified FROM claimed
"""


def claim(configuration: SandboxConfiguration, execution_id: UUID) -> Sandbox | None:
    """Claim a ready sandbox of this node for the execution. Return None if there is none."""
    runtime = configuration.runtime
    parameters = [
        settings.SANDBOX_NODE,
        runtime.pk,
        runtime.revision,
        configuration.network,
        hash_rules(None),
        execution_id,
        POOL,
        f"{CLAIMED}{as_payload(configuration.kind, execution_id)}",
    ]
    with prepared():
        return next(iter(Sandbox.objects.raw(CLAIM, parameters)), None)


def start(
    engine: Engine,
    configuration: SandboxConfiguration,
    *,
    execution_id: UUID | None = None,
    held: bool = False,
    call: Callable[[SandboxKind], str] = no_call,
) -> Sandbox:
    """Start a sandbox and return it when its runner waits for a job. Raises EngineError.

    `execution_id`: the sandbox is claimed for this execution; otherwise any run may claim it.
    `held`: the sandbox stays in the state starting, in which no run can claim it.
    `call`: returns the execution to notify that the sandbox is ready, "" for none (see Calls.next).
    """
    runtime = configuration.runtime
    sandbox = Sandbox.objects.create(
        node=settings.SANDBOX_NODE,
        runtime=runtime,
        runtime_revision=configuration.revision,
        profile_name=configuration.profile_name,
        profile_revision=configuration.profile_revision,
        profile_sha256=configuration.profile_sha256,
        network=configuration.network,
        runsc_version=engine.version(),
        engine=engine.name,
        execution_id=execution_id,
    )
    try:
        sandbox.image_id = engine.image_id(configuration.image)
        # A held sandbox runs no execution: its door leads nowhere.
        door = doors.make(None if held else sandbox.pk) if configuration.network == Network.EGRESS else ""
        sandbox.container_id = engine.create(configuration.spec(sandbox, door))
        channel = engine.attach(sandbox.container_id)
        try:
            engine.start(sandbox.container_id)
            session.wait_until_ready(channel)
        finally:
            channel.close()
    except EngineError:
        retire(sandbox)
        raise
    if not held:
        sandbox.state = SandboxState.CLAIMED if execution_id else SandboxState.READY
        sandbox.ready_at = timezone.now()
    with transaction.atomic():
        sandbox.save(update_fields=["image_id", "container_id", "state", "ready_at"])
        if sandbox.state == SandboxState.READY:
            if called := call(configuration.kind):
                notify(ready_channel(called))
            notify(POOL, READY)
    return sandbox


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
