"""Gets a run its sandbox: a warm one, one that the keeper starts for it, or one that the worker starts itself."""

import logging
import time

from django.conf import settings
from django.db import connection

from clients.models import Client
from executions.configuration import RunConfiguration
from executions.models import Execution
from runtimes.models import Runtime
from sandbox_platform.kit import liveness
from sandbox_platform.kit.notify import listening, ready_channel
from sandbox_platform.kit.prepared import prepared
from sandboxes import pool, turns
from sandboxes.configuration import SandboxConfiguration
from sandboxes.engine import Channel, Engine, EngineError, ImageMissing
from sandboxes.models import Sandbox
from sandboxes.turns import NOBODY, Claimant

logger = logging.getLogger(__name__)

# The keeper starts sandboxes, because it sees the demand of all waiting runs. If the keeper is down or takes longer
# than this, the worker starts its own sandbox.
KEEPER_PATIENCE_S = 15
# Poll at this interval, too: a call may be lost, or another run may claim the sandbox that it announced.
LOOK_AGAIN_S = 2.0
REVISION = "SELECT 1 FROM runtimes_runtime WHERE id = %s AND revision = %s"


def configuration_of(execution: Execution) -> SandboxConfiguration:
    """Return the configuration of the execution's sandbox: the recorded one if it is pinned, else the one in force.

    Raises EngineError.
    """
    stored = RunConfiguration.stored(execution)
    if execution.pinned:
        return stored.as_recorded(execution.runtime)
    return stored.in_force(execution.runtime, execution.client)


def acquire(
    engine: Engine, configuration: SandboxConfiguration, execution: Execution
) -> tuple[Sandbox, bool, Channel]:
    """Return a sandbox for the execution, whether it was warm, and the channel to its stdin and stdout.

    Raises EngineError.
    """
    if execution.pinned or not configuration.is_pooled:
        started = start(engine, execution)
        return started, False, engine.attach(started.container_id)
    warm = True
    deadline = time.monotonic() + KEEPER_PATIENCE_S
    claimant = claimant_of(execution)
    while time.monotonic() < deadline and (sandbox := pool.claim(configuration, claimant)):
        try:
            return sandbox, warm, attach_to_living(engine, sandbox)
        except EngineError as e:
            # The warm sandbox died in the pool: Docker was restarted, an operator removed the container, or the kernel
            # was out of memory. Nothing of the run has been sent.
            logger.warning("sandbox %s was dead: %s", sandbox, e)
            pool.discard(sandbox)
    warm = False
    kept = wait_for_keeper(engine, configuration, claimant, deadline)
    sandbox = kept or start(engine, execution)
    return sandbox, warm, engine.attach(sandbox.container_id)


def attach_to_living(engine: Engine, sandbox: Sandbox) -> Channel:
    """Raise EngineError if the sandbox, which has been ready, is dead."""
    channel = engine.attach(sandbox.container_id)
    try:
        # The direct engine's FIFOs outlive the sandbox, and only a FIFO that is written to needs a reader.
        channel.send(b"")
    except EngineError:
        channel.close()
        raise
    return channel


def start(engine: Engine, execution: Execution) -> Sandbox:
    """Start a sandbox for this execution, under the profile that is in force when the sandbox is ready.

    Raises EngineError.
    """
    while True:
        wanted = configuration_of(with_reloaded_profiles(execution))
        sandbox = pool.start(engine, wanted, claimant=claimant_of(execution))
        if configuration_of(with_reloaded_profiles(execution)).profile_sha256 == sandbox.profile_sha256:
            return sandbox
        pool.discard(sandbox)


def with_reloaded_profiles(execution: Execution) -> Execution:
    """Reload the profiles in force: one may be activated while the execution waits or its sandbox starts."""
    runtimes = Runtime.objects.select_related("seccomp_profile__active")
    execution.runtime.seccomp_profile = runtimes.get(pk=execution.runtime.pk).seccomp_profile
    if execution.client:
        clients = Client.objects.select_related("seccomp_profile__active")
        execution.client.seccomp_profile = clients.get(pk=execution.client.pk).seccomp_profile
    return execution


def claimant_of(execution: Execution) -> Claimant:
    return Claimant(execution.pk, execution.client_id or NOBODY, execution.requeues)


def wait_for_keeper(
    engine: Engine, configuration: SandboxConfiguration, claimant: Claimant, deadline: float
) -> Sandbox | None:
    """Wait for a sandbox that the keeper starts. Return None if the keeper is down or the deadline has passed.

    Raises ImageMissing if the node lacks the image.
    """
    with listening(ready_channel(claimant.execution_id)) as wait:
        while time.monotonic() < deadline and keeper_will_start(configuration):
            turns.wait(configuration.kind, claimant)
            if sandbox := pool.claim(configuration, claimant):
                return sandbox
            if not wait(LOOK_AGAIN_S):
                check_image(engine, configuration, claimant)
            elif sandbox := pool.claim(configuration, claimant):
                return sandbox
    turns.leave(claimant.execution_id)
    return None


def check_image(engine: Engine, configuration: SandboxConfiguration, claimant: Claimant) -> None:
    """Raise ImageMissing if the node lacks the image: the keeper cannot start a sandbox either."""
    try:
        engine.image_id(configuration.image)
    except ImageMissing:
        turns.leave(claimant.execution_id)
        raise
    except EngineError:
        pass  # the engine is away: the keeper may start sandboxes once it is back


def keeper_will_start(configuration: SandboxConfiguration) -> bool:
    """Return whether the node's keeper is alive and starts sandboxes of this revision of the runtime."""
    with prepared(), connection.cursor() as cursor:
        cursor.execute(REVISION, [configuration.runtime.pk, configuration.revision])
        is_current = bool(cursor.fetchone())
    return is_current and liveness.keeper_alive(settings.SANDBOX_NODE)
