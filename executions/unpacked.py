"""The direct engine's unpacked images: made before a run needs them, and removed when nothing needs them any more."""

import logging
from contextlib import suppress

from django.conf import settings

from executions.models import Execution
from runtimes.models import Runtime
from sandboxes.direct.engine import DirectEngine
from sandboxes.direct.images import node_store
from sandboxes.engine import Engine, EngineError, ImageMissing
from sandboxes.engines import get_engine
from sandboxes.models import EngineName, Sandbox

logger = logging.getLogger(__name__)


def prepare() -> None:
    """Unpack one image of an enabled runtime that has no copy on this node yet, within SANDBOX_IMAGE_DISK."""
    engine, store = get_engine(), node_store()
    if not isinstance(engine, DirectEngine) or store.size_bytes() >= settings.SANDBOX_IMAGE_DISK_BYTES:
        return
    here = store.current_names()
    failed: EngineError | None = None
    for runtime in Runtime.objects.enabled():
        try:
            if engine.image_id(runtime.live_image).removeprefix("sha256:") not in here:
                engine.unpacked(runtime.live_image)
                return
        except ImageMissing:
            pass
        except EngineError as e:
            failed = e  # that of another runtime may be had
    if failed:
        raise failed


def sweep() -> None:
    """Sweep the node's images. Raises EngineError if it is unknown what is needed; then nothing is removed."""
    if settings.SANDBOX_ENGINE != EngineName.DIRECT:
        return
    store = node_store()
    for name in store.sweep(needed(get_engine()), settings.SANDBOX_IMAGE_DISK_BYTES):
        logger.info("image %s: removed its unpacked copy, which nothing needs", name)


def needed(engine: Engine) -> set[str]:
    """Return the content ids of images that enabled runtimes, sandboxes and open executions use."""
    found = set(Execution.objects.open().exclude(image_id="").values_list("image_id", flat=True))
    mine = Sandbox.objects.filter(node=settings.SANDBOX_NODE).exclude(image_id="")
    found |= set(mine.values_list("image_id", flat=True))
    for runtime in Runtime.objects.enabled():
        with suppress(ImageMissing):
            found.add(engine.image_id(runtime.live_image))
    return found
