"""Removes images that the direct engine unpacked on this node and that nothing needs any more."""

import logging
from contextlib import suppress

from django.conf import settings

from executions.models import Execution
from runtimes.models import Runtime
from sandboxes.direct.images import node_store
from sandboxes.engine import Engine, ImageMissing
from sandboxes.engines import get_engine
from sandboxes.models import EngineName, Sandbox

logger = logging.getLogger(__name__)


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
