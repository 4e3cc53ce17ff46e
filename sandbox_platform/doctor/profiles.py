from inspections import services as inspections
from inspections.models import InspectionVerdict
from sandbox_platform.doctor.check import Check, broken, ok, warning


def verdicts(name: str) -> Check:
    """Report the verdicts of the last probes of the profiles in use."""
    probes = inspections.newest_probes_in_use(*InspectionVerdict.values)
    for verdict, fix in (
        (InspectionVerdict.NOT_ENFORCED, "run `make setup`: it registers gVisor with --oci-seccomp"),
        (InspectionVerdict.BREAKS_RUNTIME, "roll back the profile, or give the runtime another one"),
    ):
        if found := [probe for probe in probes if probe.verdict == verdict]:
            pairs = ", ".join(f"{probe.revision} for {probe.runtime}" for probe in found)
            return broken(name, f"{verdict.label.lower()}: {pairs}", fix)
    used = sum(1 for _ in inspections.in_use())
    if unproven := used - sum(probe.verdict == InspectionVerdict.ENFORCED for probe in probes):
        fix = "wait for the next probe, or see the inspections in the admin"
        return warning(name, f"{unproven} of {used} pairs of runtime and profile have no verdict", fix)
    return ok(name, f"{used} pairs of runtime and profile, all enforced" if used else "no runtime uses a profile")
