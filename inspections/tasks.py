"""The background task: runs the queued inspections, unless another worker of this node is running one."""

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
from sandboxes.engine import Engine, EngineError
from sandboxes.engines import get_engine

logger = logging.getLogger(__name__)

NEXT = """
    UPDATE seccomp_profiles_inspection SET state = 'running', started_at = now(), node = %s
    WHERE id = (
        SELECT id FROM seccomp_profiles_inspection
        WHERE state = 'queued' AND node IN ('', %s) ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1
    ) RETURNING *
"""


def inspect() -> None:
    """Run inspections one after the other until none is queued.

    Tasks that another worker takes meanwhile do nothing, because this one holds the lock.
    """
    tracing.sweep()  # here, because the keeper's container does not see the folder
    with inspections.inspection_lock() as locked:
        while locked and (inspection := take()):
            make(get_engine(), inspection)


def take() -> Inspection | None:
    return next(iter(Inspection.objects.raw(NEXT, 2 * [settings.SANDBOX_NODE])), None)


def make(engine: Engine, inspection: Inspection) -> None:
    """Run the inspection and store its result. The inspection has ended when this returns, whatever happens."""
    try:
        verdict, details = studies.STUDIES[InspectionKind(inspection.kind)](engine, inspection)
        finish(inspection, InspectionState.DONE, verdict, details)
    except Cancelled:
        pass  # the canceller has already set the state
    except EngineError as e:
        finish(inspection, InspectionState.FAILED, InspectionVerdict.ERROR, {"summary": str(e)})
    except Exception as e:
        # The boundary of the worker: the inspection must end whatever the exception.
        logger.error("inspection %s: %s", inspection.pk, without_text(e))
        summary = f"Internal error: {type(e).__name__}. See the worker's log."
        finish(inspection, InspectionState.FAILED, InspectionVerdict.ERROR, {"summary": summary})


def finish(
    inspection: Inspection, state: InspectionState, verdict: InspectionVerdict | str, details: dict[str, Any]
) -> None:
    """Store the end of the inspection, unless it was cancelled meanwhile."""
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
