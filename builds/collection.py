"""Disk: the images of old builds go, as long as nobody may want them back."""

import hashlib
import logging
from itertools import groupby

from django.conf import settings
from django.db.models import Q

from builds.engine import BuildEngine, get_build_engine
from builds.making import repository, tag_of
from builds.models import BuildState, RuntimeBuild
from executions.models import Execution
from sandboxes.engine import EngineError

logger = logging.getLogger(__name__)

FIRST_S = 60.0
EVERY_S = 600.0
NO_CODE = hashlib.sha256(b"").hexdigest()


def collect_here() -> None:
    try:
        collect(get_build_engine())
    except EngineError as e:
        logger.warning("collecting images: %s", e)


def collect(engine: BuildEngine) -> list[str]:
    """Removes what nobody needs of this node's builds; returns the names of the images."""
    removed = [tag_of(build) for build in superfluous() if _remove(engine, build)]
    return removed + _strays(engine)


def superfluous() -> list[RuntimeBuild]:
    """Builds with an image that is not among the runtime's newest, does not run now, and is not what a rerun as it
    was would need."""
    here = RuntimeBuild.objects.filter(node=settings.SANDBOX_NODE).exclude(image_id="").select_related("runtime")
    found = []
    for _, builds in groupby(here.order_by("runtime_id", "-id"), key=lambda build: build.runtime_id):
        older = list(builds)[settings.SANDBOX_KEEP_BUILDS :]
        found += [build for build in older if build.state != BuildState.LIVE and not is_needed(build.image_id)]
    return found


def is_needed(image_id: str) -> bool:
    """By an execution that could be run again as it was: retention has left its code, or it never had any."""
    rerunnable = ~Q(code="") | Q(code_sha256=NO_CODE)
    return Execution.objects.filter(rerunnable, image_id=image_id).exists()


def _remove(engine: BuildEngine, build: RuntimeBuild) -> bool:
    try:
        engine.untag(f"{repository()}:{tag_of(build)}")
    except EngineError as e:
        logger.info("%s: its image stays for now: %s", build, e)  # a long run is still on it
        return False
    RuntimeBuild.objects.filter(pk=build.pk).update(image_id="")
    return True


def _strays(engine: BuildEngine) -> list[str]:
    """Images and containers of builds that ended in between, or of a database that is no more."""
    # What Docker has is read first: a build that begins meanwhile is no stray.
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
