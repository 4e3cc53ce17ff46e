"""Periodic jobs for sandboxes."""

from datetime import timedelta

from sandbox_platform.kit.jobs import Job, declare
from sandboxes import measuring, nodes
from sandboxes.engines import get_engine

declare(
    Job(
        "Measure the pool's memory",
        "Record how much memory each sandbox of the node holds.",
        timedelta(seconds=measuring.EVERY_S),
        measuring.measure,
        look_every_s=measuring.EVERY_S,
    )
)
declare(
    Job(
        "Record the state of the node",
        "Note that the keeper is alive, how much disk space is left and which gVisor runs, for alerts.",
        nodes.EVERY,
        lambda: nodes.record(get_engine()),
        look_every_s=nodes.EVERY.total_seconds(),
    )
)
