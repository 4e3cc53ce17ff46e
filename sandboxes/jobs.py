"""Periodic jobs for sandboxes."""

from datetime import timedelta

from sandbox_platform.kit.jobs import Job, declare
from sandboxes import measuring

declare(
    Job(
        "Measure the pool's memory",
        "Record how much memory each sandbox of the node holds.",
        timedelta(seconds=measuring.EVERY_S),
        measuring.measure,
        look_every_s=measuring.EVERY_S,
    )
)
