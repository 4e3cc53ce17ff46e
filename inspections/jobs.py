"""The periodic job that requests the probes that are due."""

from inspections import services
from inspections.models import Inspection, InspectionKind
from sandbox_platform.kit.jobs import Job, LastRun, declare
from sandboxes.engines import get_engine


def _last_probe() -> LastRun:
    probes = Inspection.objects.filter(kind=InspectionKind.PROBE, finished_at__isnull=False)
    probe = probes.order_by("-finished_at").first()
    return LastRun(probe.finished_at) if probe else LastRun(words="No profile is in use.")


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
