"""Periodic jobs for clients."""

from datetime import timedelta

from clients import storage
from sandbox_platform.kit.jobs import TICK_S, Job, declare

declare(
    Job(
        "Add up stored bytes",
        "Add what runs and purges changed to the number of bytes that each client's history holds.",
        timedelta(seconds=TICK_S),
        storage.add_up,
        in_tick=True,
    )
)
