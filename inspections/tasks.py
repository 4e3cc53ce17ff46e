"""The background task: makes the inspection that has waited longest, if this node makes none at the moment."""

import logging
from typing import Any

from django.conf import settings
from django.utils import timezone

from inspections import services as inspections
from inspections import studies
from inspections.laboratory import Cancelled
from inspections.models import Inspection, InspectionKind, InspectionState, InspectionVerdict
from sandbox_platform.kit.failures import without_text
from sandboxes import tracing
from sandboxes.docker_engine import get_engine
from sandboxes.engine import Engine, EngineError

logger = logging.getLogger(__name__)

NEXT = """
    UPDATE seccomp_profiles_inspection SET state = 'running', started_at = now(), node = %s
    WHERE id = (
        SELECT id FROM seccomp_profiles_inspection
        WHERE state = 'queued' AND node IN ('', %s) ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1
    ) RETURNING *
"""


def inspect() -> None:
    """One after the other until nothing waits: the tasks of those asked for meanwhile came to nothing."""
    tracing.sweep()  # by a worker: the keeper's container does not see the folder
    with inspections.alone() as mine:
        while mine and (inspection := take()):
            make(get_engine(), inspection)


def take() -> Inspection | None:
    return next(iter(Inspection.objects.raw(NEXT, 2 * [settings.SANDBOX_NODE])), None)


def make(engine: Engine, inspection: Inspection) -> None:
    """Whatever happens, the inspection is over when this returns."""
    try:
        verdict, details = studies.STUDIES[InspectionKind(inspection.kind)](engine, inspection)
        finish(inspection, InspectionState.DONE, verdict, details)
    except Cancelled:
        pass  # whoever cancelled it wrote that down
    except EngineError as e:
        finish(inspection, InspectionState.FAILED, InspectionVerdict.ERROR, {"summary": str(e)})
    except Exception as e:
        # The boundary of the worker: the inspection must end, whatever it was.
        logger.error("inspection %s: %s", inspection.pk, without_text(e))
        told = f"The platform failed: {type(e).__name__}. The worker's log says more."
        finish(inspection, InspectionState.FAILED, InspectionVerdict.ERROR, {"summary": told})


def finish(
    inspection: Inspection, state: InspectionState, verdict: InspectionVerdict | str, details: dict[str, Any]
) -> None:
    """Unless somebody cancelled it meanwhile."""
    request = inspections.without_programs(inspection.details.get("request", {}))
    Inspection.objects.filter(pk=inspection.pk, state=InspectionState.RUNNING).update(
        state=state,
        verdict=verdict,
        details=details | ({"request": request} if request else {}),
        finished_at=timezone.now(),
        runsc_version=inspection.runsc_version,
        image_id=inspection.image_id,
        runtime_revision=inspection.runtime_revision,
    )
