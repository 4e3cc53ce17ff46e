"""Periodic jobs for executions."""

from datetime import timedelta

from executions import dead_nodes, figures, reaper, unpacked
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
        "Clear up after dead nodes",
        "Remove what a node whose keeper and workers are gone left in the database.",
        timedelta(minutes=1),
        dead_nodes.clear,
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
        "Unpack images",
        "Direct engine: unpack the images of enabled runtimes, one at a time, before a run waits for that.",
        timedelta(seconds=10),
        unpacked.prepare,
        look_every_s=10.0,
        first_s=30.0,
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
