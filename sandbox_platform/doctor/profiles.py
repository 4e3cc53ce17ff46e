from inspections import services as inspections
from inspections.models import InspectionVerdict
from sandbox_platform.doctor.check import Check, broken, ok, warning


def verdicts(name: str) -> Check:
    """What the last probes say of the profiles in use."""
    probes = inspections.newest_probes_in_use(*InspectionVerdict.values)
    for verdict, fix in (
        (InspectionVerdict.NOT_ENFORCED, "run `make setup`: it registers gVisor with --oci-seccomp"),
        (InspectionVerdict.BREAKS_RUNTIME, "roll the profile back, or give the runtime another"),
    ):
        if found := [probe for probe in probes if probe.verdict == verdict]:
            pairs = ", ".join(f"{probe.revision} for {probe.runtime}" for probe in found)
            return broken(name, f"{verdict.label.lower()}: {pairs}", fix)
    used = sum(1 for _ in inspections.in_use())
    if untold := used - sum(probe.verdict == InspectionVerdict.ENFORCED for probe in probes):
        fix = "wait for the next probe, or see the inspections in the admin"
        return warning(name, f"of {used} uses of a profile, {untold} have no verdict", fix)
    return ok(name, f"{used} uses of a profile, each enforced" if used else "no runtime uses one")
