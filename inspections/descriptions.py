"""Descriptions of runtimes: which are due, and requests for them. See describing.py for how one is made."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from inspections import services
from inspections.models import Inspection, InspectionKind, InspectionState
from runtimes.models import Runtime
from sandboxes.engine import Engine, EngineError

logger = logging.getLogger(__name__)

# One description at a time, so that inspections that people request wait for no more than one.
LOOK_EVERY = timedelta(seconds=30)


def request(runtime: Runtime, *, by: str, node: str = "") -> Inspection:
    """Queue a description, unless one of the runtime is queued or running. Return the queued or running one."""
    unfinished = Inspection.objects.descriptions().filter(runtime=runtime, state__in=services.OPEN).first()
    return unfinished or services.request(InspectionKind.DESCRIBE, runtime=runtime, node=node, by=by)


def tend(engine: Engine) -> None:
    """Request the next description that is due on this node. Keepers call this periodically."""
    delete_old()
    if Inspection.objects.descriptions().filter(state__in=services.OPEN, node__in=_here()).exists():
        return
    for runtime in due(engine):
        request(runtime, by=services.SCHEDULE, node=settings.SANDBOX_NODE)
        return


def due(engine: Engine) -> Iterator[Runtime]:
    """Yield each enabled runtime whose last description on this node is missing or of another image or revision."""
    last = {each.runtime_id: each for each in _last_here()}
    for runtime in Runtime.objects.enabled():
        try:
            if runtime.pk not in last or services.is_changed(last[runtime.pk], engine, runtime):
                # Without the image nothing can be described, and the next look would request it again.
                engine.image_id(runtime.live_image)
                yield runtime
        except EngineError as e:
            logger.debug("description of %s: %s", runtime, e)


def delete_old() -> None:
    """Delete old descriptions that the schedule requested, except the last of each runtime on each node."""
    ended = Inspection.objects.descriptions().exclude(state__in=services.OPEN)
    kept = ended.order_by("runtime_id", "node", "-id").distinct("runtime_id", "node")
    shown = Inspection.objects.newest_descriptions()
    old = ended.filter(requested_by=services.SCHEDULE, finished_at__lt=timezone.now() - services.KEPT)
    old.exclude(pk__in=kept.values("pk")).exclude(pk__in=shown.values("pk")).delete()


def _last_here() -> Any:
    ended = Inspection.objects.descriptions().filter(node=settings.SANDBOX_NODE)
    ended = ended.exclude(state__in=[*services.OPEN, InspectionState.CANCELLED])
    return ended.order_by("runtime_id", "-id").distinct("runtime_id").defer("details")


def _here() -> list[str]:
    return ["", settings.SANDBOX_NODE]
