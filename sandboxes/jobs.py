"""Periodic jobs of the keeper for sandboxes, in addition to keeping the pool."""

from datetime import timedelta

from sandbox_platform.kit.jobs import Job, declare
from sandboxes import measuring

declare(
    Job(
        "Measure the pool's memory",
        "Read the memory use of each sandbox on the node.",
        timedelta(seconds=measuring.EVERY_S),
        measuring.measure,
        look_every_s=measuring.EVERY_S,
    )
)
