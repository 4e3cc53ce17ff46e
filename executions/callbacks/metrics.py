"""Figures of callbacks that are pending. What became of the others is counted: metrics/counting.py."""

from collections.abc import Iterator

from django.db.models import Count, Min
from django.utils import timezone

from executions.callbacks.models import Delivery, DeliveryStatus
from sandbox_platform.kit import liveness
from sandbox_platform.kit.metrics import Figure, Reading, Value, declare

FIGURES = (
    Figure("callbacks_up", "Whether a process delivers callbacks, mail and webhooks."),
    Figure("callbacks_pending", "Callbacks that wait for their next attempt."),
    Figure("callbacks_overdue_seconds", "How long the next attempt of a callback has been due; 0: none is late."),
)


def read() -> Iterator[Value]:
    pending = Delivery.objects.filter(status=DeliveryStatus.PENDING)
    waiting = pending.aggregate(number=Count("pk"), next=Min("next_attempt_at"))
    late = (timezone.now() - waiting["next"]).total_seconds() if waiting["next"] else 0
    yield Value("callbacks_up", float(liveness.callbacks_alive() > 0))
    yield Value("callbacks_pending", waiting["number"])
    yield Value("callbacks_overdue_seconds", max(late, 0))


declare(Reading(FIGURES, read))
