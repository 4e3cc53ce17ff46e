"""Periodic jobs for groups of failures."""

from datetime import timedelta

from executions.failures import grouping
from executions.failures.models import FailurePending
from sandbox_platform.kit.jobs import Job, LastRun, declare

MOST_COUNTED = 10_000


def _pending() -> LastRun:
    waiting = FailurePending.objects.order_by()[:MOST_COUNTED].count()
    return LastRun(words=f"Failed runs that wait for their group: {waiting:,}.")


declare(
    Job(
        "Group failures",
        "Put each failed run into the group of runs with the same exception or limit.",
        timedelta(seconds=2),
        grouping.group_failures,
        look_every_s=2.0,
        recorded=False,
        last_run=_pending,
    )
)
declare(
    Job(
        "Remove old failures",
        "Remove groups of failures whose runs are purged, or which had no run for 90 days.",
        timedelta(hours=1),
        grouping.sweep,
        look_every_s=3600.0,
        first_s=120.0,
    )
)
