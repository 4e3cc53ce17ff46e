"""What the platform does by itself, how often, and when it last did. django-q2's own schedules are not used, and
its scheduler is off: each names any Python function, which a worker, who holds Docker's socket, would call."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django_q.models import Schedule

from audit.chores import EVERY
from audit.models import PurgeRecord, RetentionPolicy, Seal
from console.models import Rollup
from console.site import ConsoleSite
from executions import liveness
from executions.builds import collection
from executions.models import Delivery, DeliveryStatus
from executions.sandbox.keeper import TICK_S
from sandbox_platform.units import format_ms
from seccomp_profiles.inspections import PROBE_EVERY
from seccomp_profiles.models import Inspection, InspectionKind

PERMISSION = "executions.view_sandbox"
# So much later than it should be, and somebody ought to look.
LATE = timedelta(hours=1)


@dataclass(frozen=True)
class Work:
    what: str
    why: str
    every: timedelta
    last: datetime | None = None
    told: str = ""
    # Kept nowhere, or nothing to do so far: no time says whether it is late.
    watched: bool = True

    @property
    def often(self) -> str:
        return format_ms(self.every.total_seconds() * 1000)

    @property
    def next(self) -> datetime | None:
        return self.last + self.every if self.last and self.watched else None

    @property
    def is_late(self) -> bool:
        return bool(self.next and self.next + LATE < timezone.now())

    @property
    def state(self) -> tuple[str, str]:
        """The badge's class, and its word."""
        if not self.watched:
            return ("", "no record")
        if self.last is None:
            return ("", "not yet")
        return ("warning", "late") if self.is_late else ("ok", "in time")


def page(request: HttpRequest, *, site: ConsoleSite) -> HttpResponse:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    return site.page(
        request,
        "console/schedule.html",
        "Schedule",
        works=list(_works()),
        keepers=liveness.keepers_alive(),
        foreign=Schedule.objects.count(),
    )


def _works() -> Iterator[Work]:
    seal = Seal.objects.order_by("-sequence").first()
    yield Work(
        "Seal the history",
        "Hashes over what became final, so that a change shows.",
        EVERY,
        seal.created_at if seal else None,
        str(seal).capitalize() if seal else "",
    )
    purge = PurgeRecord.objects.order_by("-id").first()
    policies = RetentionPolicy.objects.count()
    yield Work(
        "Purge by retention",
        "After each seal; only what a policy asks for.",
        EVERY,
        purge.created_at if purge else None,
        str(purge).capitalize() if purge else "" if policies else "No policy: everything is kept.",
        watched=False,
    )
    counted = Rollup.objects.first()
    yield Work(
        "Count the hours",
        "The dashboard's figures.",
        timedelta(hours=1),
        counted.up_to if counted else None,
        "Up to then all is counted." if counted else "",
        watched=False,  # an hour is counted once everything in it has ended
    )
    probes = Inspection.objects.filter(kind=InspectionKind.PROBE, finished_at__isnull=False)
    probe = probes.order_by("-finished_at").first()
    yield Work(
        "Probe seccomp profiles",
        "That each one in use does what it says.",
        PROBE_EVERY,
        probe.finished_at if probe else None,
        "" if probe else "No profile is in use.",
    )
    yield Work(
        "Collect images of old builds",
        "What no runtime and no rerun needs.",
        timedelta(seconds=collection.EVERY_S),
        watched=False,
    )
    waiting = Delivery.objects.filter(status=DeliveryStatus.PENDING).count()
    yield Work(
        "Send callbacks that are due",
        "And at once when one becomes due.",
        timedelta(seconds=TICK_S),
        told=f"Waiting for an attempt: {waiting}.",
        watched=False,
    )
    yield Work(
        "Look for what died",
        "Workers, sandboxes, lost tasks; refill the pools.",
        timedelta(seconds=TICK_S),
        watched=False,
    )
