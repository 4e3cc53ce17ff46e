"""The background tasks: run a build from start to end, and activate an earlier build."""

import contextlib
import logging
from collections.abc import Iterator

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Func, PositiveIntegerField
from django.utils import timezone

from builds import services
from builds.engine import BuildEngine, get_build_engine
from builds.making import make, repository, tag_of
from builds.models import USABLE, WORKING, BuildState, RuntimeBuild
from builds.probing import probe
from builds.record import BuildFailed, Cancelled, Lost, Record
from builds.swapping import go_live
from executions.services import db_text
from sandbox_platform.kit.failures import without_text
from sandboxes.engine import EngineError
from sandboxes.engines import get_engine
from sandboxes.images import NobodyAnswers

logger = logging.getLogger(__name__)

# The role of `manage.py builder` sees no more of a runtime.
READ = (*(field.name for field in RuntimeBuild._meta.concrete_fields), "runtime__slug")
# What to do for a node that has not got an image.
COPY = {
    "docker": "Copy the image there (docker save, docker load)",
    "registry": "Let the nodes pull from the registry",
    "archive": "Let the nodes have the image",
}


def run_build(build_id: int) -> None:
    """Run a build. Does nothing if the build is gone, taken or cancelled, or if this node is running another one."""
    build = take(build_id)
    if build is None:
        return
    engine, record = get_build_engine(), Record(build)
    with ending(build, record, engine):
        make(engine, build, record)
        if settings.SANDBOX_BUILDER == "buildah":
            # A step for which nothing of the image has to be here. It runs only where nodes run programs.
            if not services.hand_over(build):
                raise Lost
            return
        if not RuntimeBuild.objects.filter(pk=build.pk, state=BuildState.BUILDING).update(
            state=BuildState.PROBING
        ):
            raise Lost
        prove(build, record)


def probe_build(build_id: int) -> None:
    """Prove an image that the builder has pushed, and put it live. Does nothing if another worker does, or has."""
    waiting = RuntimeBuild.objects.filter(pk=build_id, state=BuildState.PROBING, worker_backend=None)
    if not waiting.update(worker_backend=Func(function="pg_backend_pid", output_field=PositiveIntegerField())):
        return
    build = RuntimeBuild.objects.select_related("runtime").get(pk=build_id)
    record = Record(build)
    with ending(build, record):
        prove(build, record)


@contextlib.contextmanager
def ending(build: RuntimeBuild, record: Record, engine: BuildEngine | None = None) -> Iterator[None]:
    """End the build, whatever goes wrong, and start the next. `engine`: what made its image here."""
    try:
        yield
    except Cancelled:
        end(engine, build, record, BuildState.CANCELLED, "Cancelled.")
    except (BuildFailed, EngineError) as e:
        end(engine, build, record, BuildState.FAILED, str(e))
    except Lost:
        logger.warning("%s: the row was ended meanwhile", build)
        remove_image(engine, build)
    except Exception as e:
        # The boundary of the worker: the build must end whatever the exception.
        logger.error("%s: %s", build, without_text(e))
        why = f"Internal error: {type(e).__name__}. See the worker's log."
        end(engine, build, record, BuildState.FAILED, why)
    finally:
        if engine:
            tidy(engine)
        services.start_next()


def tidy(engine: BuildEngine) -> None:
    try:
        engine.tidy()
    except EngineError as e:
        logger.warning("what a build left is not removed yet: %s", e)


def take(build_id: int) -> RuntimeBuild | None:
    try:
        with transaction.atomic():
            taken = RuntimeBuild.objects.filter(pk=build_id, state=BuildState.QUEUED).update(
                state=BuildState.BUILDING,
                node=settings.SANDBOX_NODE,
                worker_backend=Func(function="pg_backend_pid", output_field=PositiveIntegerField()),
                started_at=timezone.now(),
            )
    except IntegrityError:
        return None  # another build is running here; its end starts the next one
    if not taken:
        return None
    rows = RuntimeBuild.objects.select_related("runtime")
    return (rows.only(*READ) if settings.SANDBOX_BUILDER == "buildah" else rows).get(pk=build_id)


def prove(build: RuntimeBuild, record: Record) -> None:
    """Probe the image, and put the build live, or keep it ready. Raises BuildFailed, EngineError, Cancelled, Lost."""
    # Docker or the builder makes the image, and the node's engine starts its sandboxes. The direct engine unpacks it
    # here for the first of them, so that no run waits for that.
    probe(get_engine(), build.runtime, build.image_id, build.packages, record)
    record.step("probes passed")
    try:
        problem = services.availability_problem(build.image_id)
    except NobodyAnswers:
        problem = "No keeper answered whether every node has the image."
    if problem:
        keep(build, f"{problem} {COPY[settings.SANDBOX_IMAGE_SOURCE]}, then activate this build.")
        return
    record.step("starting warm sandboxes")
    go_live(get_engine(), build)


def keep(build: RuntimeBuild, why: str) -> None:
    """Set the proven build to ready, with the reason why it is not live. It can be activated later."""
    fields = {"state": BuildState.READY, "error": why, "progress": "", "finished_at": timezone.now()}
    RuntimeBuild.objects.filter(pk=build.pk, state__in=WORKING).update(**fields)


def end(engine: BuildEngine | None, build: RuntimeBuild, record: Record, state: BuildState, why: str) -> None:
    remove_image(engine, build)
    with contextlib.suppress(BuildFailed, Cancelled, Lost):
        record.line(why)
        record.beat(now=True)
    fields = {"state": state, "error": db_text(why), "progress": "", "image_id": "", "finished_at": timezone.now()}
    RuntimeBuild.objects.filter(pk=build.pk, state__in=WORKING).update(**fields)


def remove_image(engine: BuildEngine | None, build: RuntimeBuild) -> None:
    if engine is None:
        return  # the image is in the registry
    try:
        engine.untag(f"{repository()}:{tag_of(build)}")
    except EngineError as e:
        logger.warning("%s: image not removed yet: %s", build, e)


def activate_build(build_id: int) -> None:
    build = RuntimeBuild.objects.select_related("runtime").filter(pk=build_id, state__in=USABLE).first()
    if build is None:
        return
    try:
        go_live(get_engine(), build)
    except (BuildFailed, EngineError) as e:
        fields = {"error": db_text(f"Not activated: {e}"), "progress": ""}
        RuntimeBuild.objects.filter(pk=build_id).update(**fields)
