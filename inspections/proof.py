"""Decide whether a seccomp revision is proven on a runtime, from its newest probe."""

from collections.abc import Iterable

from inspections.models import Inspection, InspectionVerdict
from runtimes.models import Runtime
from seccomp_profiles.models import SeccompProfile, SeccompRevision
from seccomp_profiles.proof import Proof


def proofs(revision: SeccompRevision, runtimes: Iterable[Runtime]) -> list[Proof]:
    """Return one Proof for each of the runtimes."""
    under = list(runtimes)
    probes = Inspection.objects.newest_probes([revision], under)
    return [_proof(runtime, probes.get((revision.pk, runtime.pk))) for runtime in under]


def known_bad(profile: SeccompProfile, runtimes: Iterable[Runtime]) -> str:
    return Inspection.objects.known_bad(profile, runtimes)


def _proof(runtime: Runtime, probe: Inspection | None) -> Proof:
    verdict, label = (probe.verdict, probe.get_verdict_display()) if probe else ("", "not probed")
    return Proof(runtime.slug, verdict, label, _obstacle(runtime, probe))


def _obstacle(runtime: Runtime, probe: Inspection | None) -> str:
    if probe is None:
        return f"never probed on {runtime.slug}"
    if probe.verdict != InspectionVerdict.ENFORCED:
        return f"the probe on {runtime.slug} says: {probe.get_verdict_display().lower()}"
    # The runtime may have got another image after the probe.
    if (probe.runtime_revision or 0) < runtime.revision:
        return f"{runtime.slug} has changed since the probe"
    return ""
