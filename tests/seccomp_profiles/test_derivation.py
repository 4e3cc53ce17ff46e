from typing import Any

import pytest

from seccomp_profiles import revisions
from seccomp_profiles.derivation import derive
from seccomp_profiles.models import SeccompProfile
from seccomp_profiles.rules import in_words, outcomes
from tests.seccomp_profiles.test_validators import ALLOW, DENY, EQUAL, deny, profile

PARENTS: dict[str, Any] = {
    "no filter": None,
    "deny-list": profile(deny("mkdir", "rmdir", args=[EQUAL]), {"name": "mkdir", "action": DENY}),
    "allow-list": {"defaultAction": DENY, "syscalls": [{"names": ["mkdir", "read"], "action": ALLOW}]},
}


@pytest.mark.parametrize("parent", PARENTS)
def test_what_is_denied_and_allowed_beside_the_parent_holds(parent: str) -> None:
    found = outcomes(derive(PARENTS[parent], allow=["rmdir"], deny=["mkdir"]))
    assert (in_words(found["rmdir"]), in_words(found["mkdir"])) == ("allowed", "denied")


@pytest.mark.parametrize("parent", PARENTS)
def test_other_calls_stay_as_the_parent_has_them(parent: str) -> None:
    before, after = outcomes(PARENTS[parent]), outcomes(derive(PARENTS[parent], allow=["rmdir"], deny=["mkdir"]))
    assert {name for name in before if before[name] != after[name]} <= {"mkdir", "rmdir"}


def test_without_changes_it_is_the_parent() -> None:
    assert derive(PARENTS["deny-list"], allow=(), deny=()) == PARENTS["deny-list"]


@pytest.fixture
def child(db: None) -> SeccompProfile:
    parent = revisions.create_profile("parent", profile(deny("mkdir")))
    return revisions.create_profile("child", parent=parent, deny=["rmdir"])


def test_child_stays_as_it_was_when_its_parent_changes(child: SeccompProfile) -> None:
    before = child.sha256
    change_parent(child)
    child = SeccompProfile.objects.get(name="child")
    assert (child.sha256, child.parent_is_newer) == (before, True)


def test_next_revision_follows_the_parent(child: SeccompProfile) -> None:
    change_parent(child)
    child = SeccompProfile.objects.get(name="child")
    revision = revisions.add_revision(child, deny=["rmdir"])
    found = outcomes(revision.effective)
    assert [in_words(found[name]) for name in ("mkdir", "rmdir", "mount")] == ["allowed", "denied", "denied"]


def change_parent(child: SeccompProfile) -> None:
    assert child.parent
    revisions.put_in_force(revisions.add_revision(child.parent, profile(deny("mount"))), by="root")
