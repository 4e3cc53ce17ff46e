"""Periodic jobs for executions."""

from datetime import timedelta

from executions import figures, reaper, unpacked
from executions.models import Rollup
from sandbox_platform.kit.jobs import TICK_S, Job, LastRun, declare

TICK = timedelta(seconds=TICK_S)


def _counted() -> LastRun:
    counted = Rollup.objects.first()
    return LastRun(counted.up_to, "All executions before this time are counted.") if counted else LastRun()


declare(
    Job(
        "End lost executions",
        "End executions whose worker died.",
        TICK,
        reaper.reap_lost,
        in_tick=True,
    )
)
declare(
    Job(
        "Expire the queue",
        "End executions that waited longer than SANDBOX_QUEUE_TIMEOUT.",
        TICK,
        reaper.expire_queued,
        in_tick=True,
    )
)
declare(
    Job(
        "Requeue lost tasks",
        "Queue executions again whose task was lost with a worker cluster.",
        TICK,
        reaper.requeue_orphans,
        in_tick=True,
    )
)
declare(
    Job(
        "Sweep live output",
        "Delete the live output of executions that have ended.",
        timedelta(minutes=1),
        reaper.sweep_output,
    )
)
declare(
    Job(
        "Count executions by the hour",
        "Prepare the dashboard's figures. An hour is counted once all its executions have ended.",
        timedelta(hours=1),
        figures.roll_up,
        last_run=_counted,
    )
)
declare(
    Job(
        "Remove unpacked images",
        "Direct engine: remove images of this node that nothing needs any more, and keep to SANDBOX_IMAGE_DISK.",
        timedelta(minutes=10),
        unpacked.sweep,
        look_every_s=600.0,
        first_s=60.0,
    )
)
