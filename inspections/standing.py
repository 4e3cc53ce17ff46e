"""The newest verdict on each profile in force, for each runtime that runs under it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from inspections.models import Inspection, InspectionKind, InspectionState, InspectionVerdict
from inspections.services import PROBE_EVERY, in_use
from runtimes.models import Runtime
from seccomp_profiles.models import SeccompProfile

# Keepers probe every hour, so an older probe means that probing has stopped.
STALE = 2 * PROBE_EVERY
WORST_FIRST = (
    InspectionVerdict.NOT_ENFORCED,
    InspectionVerdict.BREAKS_RUNTIME,
    InspectionVerdict.ERROR,
    InspectionVerdict.ENFORCED,
)


@dataclass(frozen=True)
class Standing:
    profile: SeccompProfile
    runtime: Runtime
    probe: Inspection | None

    @property
    def age(self) -> timedelta | None:
        return timezone.now() - self.probe.finished_at if self.probe and self.probe.finished_at else None

    @property
    def why_stale(self) -> str:
        if self.probe is None:
            return ""
        if (self.probe.runtime_revision or 0) < self.runtime.revision:
            return f"{self.runtime} has changed since the probe"
        return "the probe is too old" if (self.age or timedelta()) > STALE else ""

    @property
    def state(self) -> str:
        """Return `ok` (enforced by a fresh probe), `broken` (not enforced, or breaks the runtime) or `warning`."""
        if self.probe and self.probe.verdict in (InspectionVerdict.NOT_ENFORCED, InspectionVerdict.BREAKS_RUNTIME):
            return "broken"
        proven = self.probe and self.probe.verdict == InspectionVerdict.ENFORCED and not self.why_stale
        return "ok" if proven else "warning"

    @property
    def words(self) -> str:
        if self.probe is None:
            return "Never probed"
        verdict = self.probe.get_verdict_display()
        return f"Stale: {verdict.lower()}" if self.why_stale else verdict


def standings() -> list[Standing]:
    """Return the standing of each profile and runtime in use, the worst first."""
    used = list(in_use())
    probes = Inspection.objects.filter(
        kind=InspectionKind.PROBE,
        state=InspectionState.DONE,
        revision__in=[profile.active_id for profile, _ in used],
        runtime__in=[runtime.pk for _, runtime in used],
    )
    # Sort by the columns: sorting by the relation would use the other model's ordering.
    columns = ("revision_id", "runtime_id", "node")
    by_pair: dict[tuple[int | None, int | None], list[Inspection]] = {}
    for probe in probes.order_by(*columns, "-id").distinct(*columns):
        by_pair.setdefault((probe.revision_id, probe.runtime_id), []).append(probe)
    found = [
        Standing(profile, runtime, _decisive(by_pair.get((profile.active_id, runtime.pk), ())))
        for profile, runtime in used
    ]
    order = ["broken", "warning", "ok"]
    return sorted(found, key=lambda one: (order.index(one.state), one.profile.name, one.runtime.slug))


def _decisive(newest_of_nodes: Iterable[Inspection]) -> Inspection | None:
    """Return the worst of the fresh probes; without a fresh one, the latest probe.

    `newest_of_nodes` has one probe per node: a node that is gone must not hide the verdict of one that still probes.
    """
    probes = sorted(newest_of_nodes, key=lambda probe: -probe.pk)
    recent = [probe for probe in probes if probe.finished_at and probe.finished_at > timezone.now() - STALE]
    if recent:
        return min(recent, key=lambda probe: WORST_FIRST.index(InspectionVerdict(probe.verdict)))
    return probes[0] if probes else None
