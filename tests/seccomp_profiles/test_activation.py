from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from audit.models import TrailEntry
from clients.models import Client
from inspections.models import Inspection, InspectionKind, InspectionState, InspectionVerdict
from runtimes.models import Runtime
from seccomp_profiles import activation, revisions
from seccomp_profiles.models import SeccompActivation, SeccompProfile, SeccompRevision
from tests.seccomp_profiles.test_validators import deny, profile


@pytest.fixture
def draft(python_runtime: Runtime) -> SeccompRevision:
    """Revision 2 of the profile that python runs under."""
    used = revisions.create_profile("quiet", profile(deny("mkdir")))
    python_runtime.seccomp_profile = used
    python_runtime.save()
    return revisions.add_revision(used, profile(deny("mount")))


def probed(draft: SeccompRevision, verdict: str, **fields: Any) -> None:
    runtime = Runtime.objects.get()
    defaults = {"state": InspectionState.DONE, "runtime_revision": runtime.revision, "finished_at": timezone.now()}
    Inspection.objects.create(
        kind=InspectionKind.PROBE, revision=draft, runtime=runtime, verdict=verdict, **defaults | fields
    )


def in_force() -> SeccompRevision:
    return SeccompProfile.objects.get(name="quiet").current


def test_revision_that_was_never_probed_is_refused(draft: SeccompRevision) -> None:
    with pytest.raises(activation.NotProven, match="never probed on python"):
        activation.activate(draft, by="root")
    assert in_force() != draft


@pytest.mark.parametrize(
    "verdict", [InspectionVerdict.NOT_ENFORCED, InspectionVerdict.BREAKS_RUNTIME, InspectionVerdict.ERROR]
)
def test_revision_with_a_bad_verdict_is_refused(draft: SeccompRevision, verdict: str) -> None:
    probed(draft, verdict)
    with pytest.raises(activation.NotProven, match="the probe on python says"):
        activation.activate(draft, by="root")


def test_proven_revision_is_put_in_force_and_on_record(draft: SeccompRevision) -> None:
    probed(draft, InspectionVerdict.ENFORCED)
    activation.activate(draft, by="root")
    assert in_force() == draft
    done = SeccompActivation.objects.latest("id")
    assert (done.previous, done.activated_by, done.override) == (draft.profile.revisions.get(number=1), "root", "")


def test_newest_verdict_counts(draft: SeccompRevision) -> None:
    probed(draft, InspectionVerdict.ENFORCED)
    probed(draft, InspectionVerdict.NOT_ENFORCED)
    with pytest.raises(activation.NotProven):
        activation.activate(draft, by="root")


def test_verdict_of_before_the_runtime_changed_does_not_count(draft: SeccompRevision) -> None:
    probed(draft, InspectionVerdict.ENFORCED)
    Runtime.objects.get().save()
    with pytest.raises(activation.NotProven, match="changed since"):
        activation.activate(draft, by="root")


def test_unfinished_probe_is_no_verdict(draft: SeccompRevision) -> None:
    probed(draft, InspectionVerdict.ENFORCED, state=InspectionState.FAILED)
    with pytest.raises(activation.NotProven, match="never probed"):
        activation.activate(draft, by="root")


def test_reason_overrides_and_stays_on_record(draft: SeccompRevision) -> None:
    done = activation.activate(draft, by="root", override=" an incident ")
    assert SeccompActivation.objects.latest("id").override == "an incident"
    entry = TrailEntry.objects.get(
        pgh_obj_model="seccomp_profiles.SeccompActivation", pgh_obj_id=str(done.pk), pgh_label="insert"
    )
    assert entry.changes["override"] == (None, "an incident")


def test_blank_reason_overrides_nothing(draft: SeccompRevision) -> None:
    with pytest.raises(activation.NotProven):
        activation.activate(draft, by="root", override=" ")


def test_reason_that_was_not_needed_is_not_recorded(draft: SeccompRevision) -> None:
    probed(draft, InspectionVerdict.ENFORCED)
    assert activation.activate(draft, by="root", override="x").override == ""


def test_disabled_runtime_needs_no_verdict(draft: SeccompRevision) -> None:
    Runtime.objects.update(enabled=False)
    activation.activate(draft, by="root")


def test_profile_that_nobody_uses_is_activated_freely(draft: SeccompRevision) -> None:
    Runtime.objects.update(seccomp_profile=None)
    activation.activate(draft, by="root")


def test_no_filter_needs_no_proof(draft: SeccompRevision) -> None:
    activation.activate(revisions.add_revision(draft.profile, None), by="root")


@pytest.mark.parametrize(("allowed", "asked"), [([], True), (["python"], True), (["nodejs"], False)])
def test_runtimes_of_a_client_with_the_profile_count(
    draft: SeccompRevision, allowed: list[str], asked: bool
) -> None:
    Runtime.objects.update(seccomp_profile=None)
    Client.objects.create(name="picky", seccomp_profile=draft.profile, allowed_runtimes=allowed)
    assert bool(activation.obstacles(draft)) is asked


def test_older_revision_is_what_one_goes_back_to(draft: SeccompRevision) -> None:
    activation.activate(draft, by="root", override="x")
    first = draft.profile.revisions.get(number=1)
    activation.activate(first, by="root", override="it broke things")
    assert in_force() == first


def test_activating_what_is_in_force_records_nothing(draft: SeccompRevision) -> None:
    activation.activate(in_force(), by="root")
    assert SeccompActivation.objects.count() == 1


@pytest.mark.parametrize("verdict", [InspectionVerdict.NOT_ENFORCED, InspectionVerdict.BREAKS_RUNTIME])
def test_profile_known_to_be_bad_is_given_to_no_runtime_or_client(draft: SeccompRevision, verdict: str) -> None:
    runtime = Runtime.objects.get()
    Runtime.objects.update(seccomp_profile=None)
    probed(in_force(), verdict)
    runtime.seccomp_profile = draft.profile
    for owner in (runtime, Client(name="picky", seccomp_profile=draft.profile)):
        with pytest.raises(ValidationError, match="the newest probe of quiet on python says"):
            owner.full_clean()


def test_verdict_that_came_later_keeps_no_field_from_being_changed(draft: SeccompRevision) -> None:
    probed(in_force(), InspectionVerdict.NOT_ENFORCED)
    Runtime.objects.get().full_clean()
