"""Writes acts to the trail, and answers who cancelled an execution."""

from contextlib import nullcontext
from uuid import UUID

import pghistory

from audit.models import Act
from audit.models.changes import ActEvent, who_of
from sandbox_platform.kit import acts
from sandbox_platform.kit.acts import Kind


def record(act: acts.Act) -> None:
    with pghistory.context(**act.context) if act.context else nullcontext():
        Act.objects.create(
            kind=act.kind,
            name=act.name,
            object_id=act.object_id,
            behalf=act.behalf,
            before=act.before,
            after=act.after,
        )


def cancelled_by(execution_id: UUID) -> str:
    """Return who cancelled the execution, "" if the trail does not say: before acts were recorded."""
    acts_on_it = Act.objects.filter(kind=Kind.CANCELLED, object_id=str(execution_id)).values("pk")
    event = ActEvent.objects.filter(pgh_obj_id__in=acts_on_it).order_by("pgh_id").first()
    return who_of(event.pgh_context) if event else ""
