"""The periodic jobs for builds."""

from datetime import timedelta

from builds import collection, services
from sandbox_platform.kit.jobs import TICK_S, Job, declare

declare(
    Job(
        "Clean up lost builds",
        "Mark builds whose worker died as failed, and start the next queued build.",
        timedelta(seconds=TICK_S),
        services.recover_lost,
        in_tick=True,
    )
)
declare(
    Job(
        "Collect images of old builds",
        "Delete images that no runtime and no rerun needs.",
        timedelta(seconds=collection.EVERY_S),
        collection.collect_here,
        look_every_s=collection.EVERY_S,
        first_s=collection.FIRST_S,
    )
)
