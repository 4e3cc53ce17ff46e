"""Making a build the one that runs: between two statements, with its sandboxes warm already."""

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

# The old ones' memory is needed until the new ones are there.
MOST_WARM = 8
ATTEMPTS = 3


def go_live(engine: Engine, build: RuntimeBuild) -> None:
    """Raises BuildFailed if the runtime was changed so that the build does not belong to it any more, and
    EngineError: then nothing has changed."""
    for _ in range(ATTEMPTS):
        runtime = Runtime.objects.select_related("seccomp_profile").get(pk=build.runtime_id)
        if runtime.image != build.base:
            raise BuildFailed(f"The runtime's image was changed to {runtime.image} meanwhile: build again.")
        warm = warmed_up(engine, runtime, build)
        if _flip(build, runtime, warm):
            return
        # Somebody changed the runtime: these sandboxes are not what it says now.
        for sandbox in warm:
            pool.retire(sandbox)
    raise BuildFailed("The runtime was changed again and again meanwhile. Activate this build by hand.")


def warmed_up(engine: Engine, runtime: Runtime, build: RuntimeBuild) -> list[Sandbox]:
    """As many as wait for a run now, which nobody can claim yet."""
    ready = Sandbox.objects.filter(
        node=settings.SANDBOX_NODE, runtime=runtime, state=SandboxState.READY, runtime_revision=runtime.revision
    ).count()
    configuration = replace(SandboxConfiguration.of_runtime(runtime), image=build.image_id)
    started: list[Sandbox] = []
    try:
        for _ in range(min(max(1, ready) if runtime.enabled else 1, MOST_WARM)):
            started.append(pool.start(engine, configuration, held=True))
    except BaseException:
        for sandbox in started:
            pool.retire(sandbox)
        raise
    return started


def _flip(build: RuntimeBuild, known: Runtime, warm: list[Sandbox]) -> bool:
    """False, and nothing done, if the runtime is not what it was when those were started."""
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
