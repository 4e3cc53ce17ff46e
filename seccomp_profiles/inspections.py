"""Asking for inspections: probes, learning, dry runs and traces. Workers make them, one at a time on a node."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone
from django_q.tasks import async_task

from executions.broker import NotifyBroker
from executions.sandbox.engine import Engine
from runtimes.models import Runtime
from seccomp_profiles.models import Inspection, InspectionKind, InspectionState, SeccompRevision

TASK = "seccomp_profiles.tasks.inspect"
OPEN = (InspectionState.QUEUED, InspectionState.RUNNING)
PROBE_EVERY = timedelta(hours=1)
# An inspection's task is one among others; its worker may die.
LOST_AFTER = timedelta(minutes=20)


@transaction.atomic
def request(
    kind: str,
    *,
    revision: SeccompRevision | None = None,
    runtime: Runtime | None = None,
    execution_id: UUID | None = None,
    by: str = "",
    **parameters: Any,
) -> Inspection:
    """Queues it. A probe that waits already is not asked for twice."""
    if kind == InspectionKind.PROBE:
        same = Inspection.objects.filter(
            kind=kind, revision=revision, runtime=runtime, state=InspectionState.QUEUED
        ).first()
        if same:
            return same
    inspection = Inspection.objects.create(
        kind=kind,
        revision=revision,
        runtime=runtime,
        execution_id=execution_id,
        requested_by=by,
        details={"request": parameters} if parameters else {},
    )
    enqueue()
    return inspection


def enqueue() -> None:
    """A task for whichever inspection has waited longest, when a worker comes to it."""
    async_task(TASK, task_name="inspection", broker=NotifyBroker())


def cancel(inspection: Inspection) -> bool:
    """A running one ends before its next sandbox. False if it was over."""
    ended = Inspection.objects.filter(pk=inspection.pk, state__in=OPEN)
    return bool(ended.update(state=InspectionState.CANCELLED, finished_at=timezone.now()))


def request_probes(revision: SeccompRevision, *, by: str) -> list[Inspection]:
    """For every enabled runtime that uses the revision's profile."""
    used_by = Runtime.objects.enabled().filter(seccomp_profile_id=revision.profile_id)
    return [request(InspectionKind.PROBE, revision=revision, runtime=runtime, by=by) for runtime in used_by]
