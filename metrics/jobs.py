"""Periodic jobs that count for /metrics."""

from datetime import timedelta

from metrics import adding
from sandbox_platform.kit.jobs import Job, declare

declare(
    Job(
        "Add up metrics",
        "Add what happened to the counters of /metrics.",
        timedelta(seconds=5),
        adding.add_up,
        look_every_s=5.0,
    )
)
declare(
    Job(
        "Forget deleted runtimes",
        "Remove the counters of runtimes that are deleted.",
        timedelta(hours=1),
        adding.forget_runtimes,
        look_every_s=3600.0,
        first_s=300.0,
    )
)
