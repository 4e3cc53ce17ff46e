"""The periodic jobs that request the probes and descriptions that are due."""

from datetime import timedelta

from inspections import descriptions, separation, services
from inspections.models import Inspection, InspectionKind
from sandbox_platform.kit.jobs import Job, LastRun, declare
from sandboxes.engines import get_engine


def _last_probe() -> LastRun:
    probes = Inspection.objects.filter(kind=InspectionKind.PROBE, finished_at__isnull=False)
    probe = probes.order_by("-finished_at").first()
    return LastRun(probe.finished_at) if probe else LastRun(words="No profile is in use.")


def _last_description() -> LastRun:
    last = Inspection.objects.descriptions().filter(finished_at__isnull=False).order_by("-finished_at").first()
    return LastRun(last.finished_at, f"{last.runtime}") if last else LastRun()


declare(
    Job(
        "Probe seccomp profiles",
        "Probe each profile in use: is it enforced, and do its runtimes work.",
        services.PROBE_EVERY,
        lambda: services.tend(get_engine()),
        recorded=True,
        last_run=_last_probe,
    )
)
declare(
    Job(
        "Test the separation of runs",
        "Run a program that leaves traces, and another one that looks for them, as the client self-test.",
        separation.EVERY,
        separation.tend,
        look_every_s=separation.LOOK_EVERY_S,
        # Not in the first minutes of an installation, or of a platform that a test starts.
        first_s=timedelta(minutes=50).total_seconds(),
        recorded=True,
        last_run=separation.last_run,
    )
)
declare(
    Job(
        "Describe runtimes",
        "Collect what a program sees in a runtime whose image or configuration has changed.",
        descriptions.LOOK_EVERY,
        lambda: descriptions.tend(get_engine()),
        look_every_s=descriptions.LOOK_EVERY.total_seconds(),
        first_s=descriptions.LOOK_EVERY.total_seconds(),
        last_run=_last_description,
    )
)
