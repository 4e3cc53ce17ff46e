"""The periodic job that counts usage."""

from datetime import timedelta

from sandbox_platform.kit.jobs import Job, LastRun, declare
from usage import rollup
from usage.models import Counted


def _counted() -> LastRun:
    counted = Counted.objects.first()
    return LastRun(counted.up_to, "The usage before this time is counted.") if counted else LastRun()


declare(
    Job(
        "Count usage by the hour",
        "Add up what clients used. An hour is counted once all its executions have ended.",
        timedelta(hours=1),
        rollup.roll_up,
        last_run=_counted,
    )
)
