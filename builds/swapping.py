"""The swap: put a build live in one transaction, with its warm sandboxes started before."""

from dataclasses import replace

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from builds.models import BuildState, RuntimeBuild
from builds.record import BuildFailed
from runtimes.models import Runtime
from sandboxes import pool
from sandboxes.configuration import SandboxConfiguration
from sandboxes.engine import Engine
from sandboxes.models import Sandbox, SandboxState

# Until the swap, the old warm sandboxes also need their memory.
MAX_WARM = 8
ATTEMPTS = 3


def go_live(engine: Engine, build: RuntimeBuild) -> None:
    """Put the build live. Raises BuildFailed if the runtime's image has changed, and EngineError.

    After an exception the runtime is unchanged.
    """
    for _ in range(ATTEMPTS):
        runtime = Runtime.objects.select_related("seccomp_profile").get(pk=build.runtime_id)
        if runtime.image != build.base:
            raise BuildFailed(f"The runtime's image has changed to {runtime.image} meanwhile: build again.")
        warm = start_warm(engine, runtime, build)
        if _flip(build, runtime, warm):
            return
        # The runtime has changed, so these sandboxes have an old configuration.
        for sandbox in warm:
            pool.retire(sandbox)
    raise BuildFailed(
        f"The runtime changed during each of {ATTEMPTS} attempts. Retry when nobody changes the runtime."
    )


def start_warm(engine: Engine, runtime: Runtime, build: RuntimeBuild) -> list[Sandbox]:
    """Start sandboxes of the build, as many as are warm now (at most MAX_WARM). They cannot be claimed yet."""
    ready = Sandbox.objects.filter(
        node=settings.SANDBOX_NODE, runtime=runtime, state=SandboxState.READY, runtime_revision=runtime.revision
    ).count()
    configuration = replace(SandboxConfiguration.of_runtime(runtime), image=build.image_id)
    started: list[Sandbox] = []
    try:
        for _ in range(min(max(1, ready) if runtime.enabled else 1, MAX_WARM)):
            started.append(pool.start(engine, configuration, held=True))
    except BaseException:
        for sandbox in started:
            pool.retire(sandbox)
        raise
    return started


def _flip(build: RuntimeBuild, known: Runtime, warm: list[Sandbox]) -> bool:
    """Swap in one transaction. Returns False, without a change, if the runtime has changed since `known` was read."""
    with transaction.atomic():
        runtime = Runtime.objects.select_for_update().get(pk=known.pk)
        if runtime.revision != known.revision:
            return False
        now = timezone.now()
        RuntimeBuild.objects.filter(runtime=runtime, state=BuildState.LIVE).update(state=BuildState.READY)
        RuntimeBuild.objects.filter(pk=build.pk).update(
            state=BuildState.LIVE, live_at=now, finished_at=build.finished_at or now, progress="", error=""
        )
        runtime.packages = build.packages
        runtime.built_image, runtime.built_on = build.image_id, build.base
        runtime.save()
        held = Sandbox.objects.filter(pk__in=[sandbox.pk for sandbox in warm], state=SandboxState.STARTING)
        held.update(state=SandboxState.READY, runtime_revision=runtime.revision, ready_at=now)
    return True
