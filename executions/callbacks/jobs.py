"""Periodic jobs for callbacks."""

from datetime import timedelta

from executions.callbacks import deliveries
from executions.callbacks.models import Delivery, DeliveryStatus
from sandbox_platform.kit.jobs import TICK_S, Job, LastRun, declare
from sandbox_platform.kit.notify import CALLBACK


def _waiting() -> LastRun:
    waiting = Delivery.objects.filter(status=DeliveryStatus.PENDING).count()
    return LastRun(words=f"Pending deliveries: {waiting}.")


declare(
    Job(
        "Queue callbacks that are due",
        "Queue the deliveries that are due. Also runs as soon as an execution with a callback ends.",
        timedelta(seconds=TICK_S),
        deliveries.enqueue_due,
        in_tick=True,
        wakes_on=CALLBACK,
        last_run=_waiting,
    )
)
