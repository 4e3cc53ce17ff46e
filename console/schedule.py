"""The schedule page: the periodic jobs that every keeper runs, their intervals and their last runs.

django-q2's schedules are not used and its scheduler is off: a schedule can name any Python function, and a worker,
which has access to Docker, would call it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django_q.models import Schedule

from console.site import ConsoleSite
from sandbox_platform.kit import jobs, liveness
from sandbox_platform.kit.jobs import Job, LastRun
from sandbox_platform.kit.units import format_ms

PERMISSION = "sandboxes.view_sandbox"
# A recorded job counts as late when it is overdue for longer than this.
LATE = timedelta(hours=1)


@dataclass(frozen=True)
class Row:
    """A job on the page."""

    job: Job
    last_run: LastRun

    @property
    def often(self) -> str:
        return format_ms(self.job.every.total_seconds() * 1000)

    @property
    def next(self) -> datetime | None:
        return self.last_run.at + self.job.every if self.last_run.at and self.job.recorded else None

    @property
    def is_late(self) -> bool:
        return bool(self.next and self.next + LATE < timezone.now())

    @property
    def state(self) -> tuple[str, str]:
        """Return the badge's CSS class and its text."""
        if not self.job.recorded:
            return ("", "not recorded")
        if self.last_run.at is None:
            return ("", "not run yet")
        return ("warning", "late") if self.is_late else ("ok", "on time")


def page(request: HttpRequest, *, site: ConsoleSite) -> HttpResponse:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    return site.page(
        request,
        "console/schedule.html",
        "Schedule",
        rows=[Row(job, job.last_run()) for job in jobs.declared()],
        keepers=liveness.keepers_alive(),
        foreign=Schedule.objects.count(),
    )
