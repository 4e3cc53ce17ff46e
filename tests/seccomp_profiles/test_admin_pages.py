"""A profile's page after drafts and rollbacks: what is in force, and what is not."""

from typing import Any

import pytest
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from inspections.models import Inspection, InspectionKind, InspectionState, InspectionVerdict
from runtimes.models import Runtime
from seccomp_profiles import activation, revisions
from seccomp_profiles.models import SeccompActivation, SeccompProfile
from tests.conftest import Visitor
from tests.pages import fields, words
from tests.seccomp_profiles.test_validators import deny, profile

OLD, NEW = profile(deny("mkdir")), profile(deny("rmdir"))


@pytest.fixture
def quiet(python_runtime: Runtime) -> SeccompProfile:
    """A profile that python runs under, with OLD in force."""
    found = revisions.create_profile("quiet", OLD)
    python_runtime.seccomp_profile = found
    python_runtime.save()
    return found


@pytest.fixture
def rolled_back(quiet: SeccompProfile) -> SeccompProfile:
    """The same, after NEW was in force for a while."""
    activation.activate(revisions.add_revision(quiet, NEW), by="root", override="x")
    activation.activate(quiet.revisions.get(number=1), by="root")
    return SeccompProfile.objects.get(pk=quiet.pk)


def page(of: SeccompProfile, query: str = "") -> str:
    return reverse("admin:seccomp_profiles_seccompprofile_change", args=[of.pk]) + query


def activate(browser: Browser, of: SeccompProfile, number: int, **data: str) -> str:
    url = reverse("admin:seccomp_profiles_activate", args=[of.pk, number])
    return html_of(browser.post(url, data, follow=True))


def html_of(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def section(html: str, name: str) -> str:
    """Return the words of the section with this id, up to the end of its table of rules."""
    return words("<" + html.partition(f'id="{name}"')[2].partition("<details>")[0])


def probed(of: SeccompProfile, number: int, verdict: InspectionVerdict) -> None:
    runtime = Runtime.objects.get()
    Inspection.objects.create(
        kind=InspectionKind.PROBE,
        revision=of.revisions.get(number=number),
        runtime=runtime,
        verdict=verdict,
        state=InspectionState.DONE,
        runtime_revision=runtime.revision,
        finished_at=timezone.now(),
    )


@pytest.mark.parametrize("role", ["administrator", "auditor"])
def test_after_a_rollback_the_rules_in_force_are_shown_as_in_force(
    visitor: Visitor, rolled_back: SeccompProfile, role: str
) -> None:
    html = html_of(visitor(role).get(page(rolled_back)))
    effective = section(html, "seccomp-read")
    assert "Effective rules: revision 1, in force" in effective
    assert ("mkdir" in effective, "rmdir" in effective) == (True, False)
    assert "seccomp-in-force" not in html


def test_after_a_rollback_the_editor_holds_the_rules_in_force(
    browser: Browser, rolled_back: SeccompProfile
) -> None:
    assert fields(html_of(browser.get(page(rolled_back))))["rules-0-names"] == "mkdir"


@pytest.mark.parametrize("role", ["administrator", "auditor"])
def test_draft_is_marked_and_compared_with_the_rules_in_force(
    visitor: Visitor, quiet: SeccompProfile, role: str
) -> None:
    revisions.add_revision(quiet, NEW)
    html = html_of(visitor(role).get(page(quiet)))
    assert "Draft: revision 2, not in force" in section(html, "seccomp-read")
    assert "Effective rules: revision 1, in force" in section(html, "seccomp-in-force")
    standing = section(html, "seccomp-standing")
    assert "Newly denied: rmdir" in standing
    assert "Newly allowed: mkdir" in standing


def test_auditor_sees_no_fields_of_the_editor(visitor: Visitor, quiet: SeccompProfile) -> None:
    html = html_of(visitor("auditor").get(page(quiet)))
    assert [name for name in ("field-rules", "field-imported", "field-note") if name in html] == []


def test_any_revision_can_be_edited(browser: Browser, rolled_back: SeccompProfile) -> None:
    html = html_of(browser.get(page(rolled_back, "?revision=2")))
    assert fields(html)["rules-0-names"] == "rmdir"
    assert "Revision 2, not in force" in section(html, "seccomp-read")


def test_saving_another_revision_untouched_makes_no_revision(
    browser: Browser, rolled_back: SeccompProfile
) -> None:
    url = page(rolled_back, "?revision=2")
    browser.post(url, fields(html_of(browser.get(url))))
    assert rolled_back.revisions.count() == 2


@pytest.mark.parametrize("query", ["?revision=9", "?revision=x", "?revision=99999999999"])
def test_revision_that_is_not_there_is_no_fault(browser: Browser, quiet: SeccompProfile, query: str) -> None:
    assert fields(html_of(browser.get(page(quiet, query))))["rules-0-names"] == "mkdir"


def test_each_revision_says_whether_it_is_or_was_in_force(browser: Browser, rolled_back: SeccompProfile) -> None:
    revisions.add_revision(rolled_back, NEW)
    html = html_of(browser.get(page(rolled_back)))
    states = [words(html.partition(f'id="revision-{number}"')[2].split("</td>")[1]) for number in (1, 2, 3)]
    assert states == ["in force", "was in force", "draft"]


def test_child_follows_with_the_changes_in_force_after_a_rollback(browser: Browser, quiet: SeccompProfile) -> None:
    child = revisions.create_profile("child", parent=quiet, deny=["mount"])
    activation.activate(revisions.add_revision(child, deny=["chmod"]), by="root")
    activation.activate(child.revisions.get(number=1), by="root")
    browser.post(reverse("admin:seccomp_profiles_follow", args=[child.pk]))
    assert child.revisions.latest("number").deny == ["mount"]


def test_refused_activation_asks_for_the_reason_beside_what_is_not_proven(
    browser: Browser, quiet: SeccompProfile
) -> None:
    revisions.add_revision(quiet, NEW)
    html = activate(browser, quiet, 2)
    assert "Never probed on python." in words(html)
    assert "override" in fields(html)
    assert SeccompProfile.objects.get(name="quiet").current.number == 1


@pytest.mark.parametrize("verdict", [InspectionVerdict.BREAKS_RUNTIME, InspectionVerdict.ERROR])
def test_rollback_needs_no_reason_and_names_what_is_not_proven(
    browser: Browser, quiet: SeccompProfile, verdict: InspectionVerdict
) -> None:
    activation.activate(revisions.add_revision(quiet, NEW), by="root", override="x")
    probed(quiet, 1, verdict)
    html = words(activate(browser, quiet, 1))
    assert "Revision 1 is in force." in html
    assert f"Revision 1 is not proven: the probe on python says: {verdict.label.lower()}." in html
    assert SeccompActivation.objects.latest("id").override == activation.ROLLBACK


def test_rollback_to_what_is_not_enforced_needs_a_reason(browser: Browser, quiet: SeccompProfile) -> None:
    activation.activate(revisions.add_revision(quiet, NEW), by="root", override="x")
    probed(quiet, 1, InspectionVerdict.NOT_ENFORCED)
    assert "The probe on python says: not enforced." in words(activate(browser, quiet, 1))
    assert SeccompProfile.objects.get(name="quiet").current.number == 2
