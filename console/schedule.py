"""The page of scheduled jobs: the periodic jobs that every keeper runs, their intervals and their last runs.

django-q2's schedules are not used and its scheduler is off: a schedule can name any Python function, and a worker,
which has access to Docker, would call it.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django_q.models import Schedule

from console.models import JobRun
from console.site import ConsoleSite
from sandbox_platform.kit import jobs, liveness
from sandbox_platform.kit.jobs import Job, LastRun
from sandbox_platform.kit.units import format_ms

PERMISSION = "sandboxes.view_sandbox"
# A job counts as late when it is overdue for longer than this.
LATE = timedelta(hours=1)
# The runs of a node that has been silent for this long are not shown: the node is gone.
FORGOTTEN = timedelta(days=7)


def record(run: jobs.Run) -> None:
    """Store the last run of a job on this node."""
    values = {"started_at": run.started_at, "ended_at": run.ended_at, "error": run.error}
    JobRun.objects.update_or_create(node=settings.SANDBOX_NODE, job=run.job, defaults=values)


@dataclass(frozen=True)
class Row:
    """A job on the page, with its last run on each node."""

    job: Job
    last_run: LastRun
    runs: list[JobRun] = field(default_factory=list)

    @property
    def often(self) -> str:
        return format_ms(self.job.every.total_seconds() * 1000)

    @property
    def next(self) -> datetime | None:
        """Return when the job is due: after its last work, if that is on record, else after its last run."""
        at = self.last_run.at if self.job.recorded else self._newest
        return at + self.job.every if at else None

    @property
    def _newest(self) -> datetime | None:
        return max((run.ended_at or run.started_at for run in self.runs), default=None)

    @property
    def is_late(self) -> bool:
        return bool(self.next and self.next + LATE < timezone.now())

    @property
    def state(self) -> tuple[str, str]:
        """Return the badge's CSS class and its text."""
        failed = next((run for run in self.runs if run.error), None)
        if failed:
            return ("broken", f"failed: {failed.error}")
        if self.next is None:
            return ("", "not run yet")
        return ("warning", "late") if self.is_late else ("ok", "on time")


def page(request: HttpRequest, *, site: ConsoleSite) -> HttpResponse:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    runs: dict[str, list[JobRun]] = defaultdict(list)
    for run in JobRun.objects.filter(started_at__gt=timezone.now() - FORGOTTEN).order_by("node"):
        runs[run.job].append(run)
    return site.page(
        request,
        "console/schedule.html",
        "Scheduled jobs",
        rows=[Row(job, job.last_run(), runs[job.name]) for job in jobs.declared()],
        keepers=liveness.keepers_alive(),
        foreign=Schedule.objects.count(),
    )
