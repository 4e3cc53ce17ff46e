"""What keepers do for builds."""

from datetime import timedelta

from builds import collection, services
from sandbox_platform.kit.jobs import TICK_S, Job, declare

declare(
    Job(
        "Give up lost builds",
        "End builds whose worker died, and start the next one in the queue.",
        timedelta(seconds=TICK_S),
        services.look_after,
        in_tick=True,
    )
)
declare(
    Job(
        "Collect images of old builds",
        "Delete the images that no runtime and no rerun needs.",
        timedelta(seconds=collection.EVERY_S),
        collection.collect_here,
        look_every_s=collection.EVERY_S,
        first_s=collection.FIRST_S,
    )
)
