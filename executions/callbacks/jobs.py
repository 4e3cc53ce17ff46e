"""Callbacks that are due."""

from datetime import timedelta

from executions.callbacks import deliveries
from executions.callbacks.models import Delivery, DeliveryStatus
from sandbox_platform.kit.jobs import TICK_S, Job, LastRun, declare
from sandbox_platform.kit.notify import CALLBACK


def _waiting() -> LastRun:
    waiting = Delivery.objects.filter(status=DeliveryStatus.PENDING).count()
    return LastRun(words=f"Deliveries that wait for an attempt: {waiting}.")


declare(
    Job(
        "Queue callbacks that are due",
        "Also at once when an execution with a callback ends.",
        timedelta(seconds=TICK_S),
        deliveries.enqueue_due,
        in_tick=True,
        wakes_on=CALLBACK,
        last_run=_waiting,
    )
)
