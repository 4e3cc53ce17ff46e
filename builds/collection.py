"""Collection: delete the images of old builds that nothing needs, to free disk space."""

import hashlib
import logging
from itertools import groupby

from django.conf import settings
from django.db.models import Q

from builds.docker_engine import DockerBuildEngine
from builds.engine import get_build_engine
from builds.making import repository, tag_of
from builds.models import BuildState, RuntimeBuild
from executions.models import Execution
from sandboxes.engine import EngineError
from sandboxes.sources.source import DOCKER

logger = logging.getLogger(__name__)

FIRST_S = 60.0
EVERY_S = 600.0
NO_CODE = hashlib.sha256(b"").hexdigest()


def collect_here() -> None:
    if settings.SANDBOX_BUILDER != DOCKER or settings.SANDBOX_IMAGE_SOURCE != DOCKER:
        return  # images of builds, if there are any, are in a registry, which has rules of its own for what it keeps
    engine = get_build_engine()
    assert isinstance(engine, DockerBuildEngine)  # noqa: S101
    try:
        collect(engine)
    except EngineError as e:
        logger.warning("collecting images: %s", e)


def collect(engine: DockerBuildEngine) -> list[str]:
    """Remove the unneeded images of this node's builds, and return their names."""
    removed = [tag_of(build) for build in unneeded_builds() if _remove(engine, build)]
    return removed + _strays(engine)


def unneeded_builds() -> list[RuntimeBuild]:
    """Return the builds with an image that is not live, not among the runtime's newest, and not needed by a rerun."""
    here = RuntimeBuild.objects.filter(node=settings.SANDBOX_NODE).exclude(image_id="").select_related("runtime")
    found = []
    for _, builds in groupby(here.order_by("runtime_id", "-id"), key=lambda build: build.runtime_id):
        older = list(builds)[settings.SANDBOX_KEEP_BUILDS :]
        found += [build for build in older if build.state != BuildState.LIVE and not is_needed(build.image_id)]
    return found


def is_needed(image_id: str) -> bool:
    """Return whether a pinned rerun needs the image: an execution on it still has its code, or never had any."""
    rerunnable = ~Q(code="") | Q(code_sha256=NO_CODE)
    return Execution.objects.filter(rerunnable, image_id=image_id).exists()


def _remove(engine: DockerBuildEngine, build: RuntimeBuild) -> bool:
    try:
        engine.untag(f"{repository()}:{tag_of(build)}")
    except EngineError as e:
        logger.info("%s: image not removed yet: %s", build, e)  # for example, a long run still uses it
        return False
    RuntimeBuild.objects.filter(pk=build.pk).update(image_id="")
    return True


def _strays(engine: DockerBuildEngine) -> list[str]:
    """Remove images and containers of interrupted builds, or of a deleted database; return the images' names."""
    # Read Docker before the database, so that a build that starts meanwhile does not count as a stray.
    tags, builders = engine.tags(repository()), engine.builders()
    builds = list(RuntimeBuild.objects.filter(node=settings.SANDBOX_NODE).select_related("runtime"))
    working = {str(build.pk) for build in builds if build.state in (BuildState.BUILDING, BuildState.PROBING)}
    known = {f"{repository()}:{tag_of(build)}" for build in builds if build.image_id or str(build.pk) in working}
    for container, build_id in builders.items():
        if build_id not in working:
            engine.remove(container)
    strays = [tag for tag in tags if tag not in known]
    for tag in strays:
        engine.untag(tag)
    return strays
