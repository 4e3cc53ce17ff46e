"""Periodic jobs for callbacks."""

from datetime import timedelta

from django.utils import timezone

from executions.callbacks import deliveries
from executions.callbacks.models import Delivery, DeliveryStatus
from sandbox_platform.kit.jobs import TICK_S, Job, LastRun, declare
from sandbox_platform.kit.notify import CALLBACK

DAY = timedelta(days=1)


def _waiting() -> LastRun:
    waiting = Delivery.objects.filter(status=DeliveryStatus.PENDING).count()
    since = timezone.now() - DAY
    lost = Delivery.objects.filter(status=DeliveryStatus.GIVEN_UP, finished_at__gte=since).count()
    return LastRun(words=f"Pending deliveries: {waiting}. Given up in the last 24 hours: {lost}.")


declare(
    Job(
        "Queue callbacks that are due",
        "Queue the deliveries that are due, and give up those beyond SANDBOX_CALLBACK_PENDING. "
        "Also runs as soon as an execution with a callback ends.",
        timedelta(seconds=TICK_S),
        deliveries.keep_going,
        in_tick=True,
        wakes_on=CALLBACK,
        last_run=_waiting,
    )
)
