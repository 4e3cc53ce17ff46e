from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from inspections.models import Inspection
from inspections.standing import Standing, standings
from runtimes.models import Runtime
from seccomp_profiles import revisions
from seccomp_profiles.models import SeccompProfile
from tests.inspections.conftest import denying


@pytest.fixture
def used(python_runtime: Runtime) -> SeccompProfile:
    profile = revisions.create_profile("used", denying("ptrace"))
    python_runtime.seccomp_profile = profile
    python_runtime.save()
    return profile


def probed(profile: SeccompProfile, *, hours: float = 0, **fields: Any) -> Inspection:
    runtime = Runtime.objects.get()
    done = {
        "state": "done",
        "verdict": "enforced",
        "finished_at": timezone.now() - timedelta(hours=hours),
        "node": "n",
        "runtime_revision": runtime.revision,
    }
    return Inspection.objects.create(kind="probe", revision=profile.current, runtime=runtime, **done | fields)


def only() -> Standing:
    (standing,) = standings()
    return standing


def test_profile_that_nobody_uses_has_none(python_runtime: Runtime) -> None:
    revisions.create_profile("spare", denying("ptrace"))
    assert standings() == []


def test_never_probed(used: SeccompProfile) -> None:
    assert (only().words, only().state, only().age) == ("Never probed", "warning", None)


@pytest.mark.parametrize(
    "verdict, words, state",
    [
        ("enforced", "Enforced", "ok"),
        ("not_enforced", "Not enforced", "broken"),
        ("breaks_runtime", "Breaks the runtime", "broken"),
        ("error", "Inconclusive", "warning"),
    ],
)
def test_verdict_of_the_newest(used: SeccompProfile, verdict: str, words: str, state: str) -> None:
    probed(used, verdict="error")
    probed(used, verdict=verdict)
    assert (only().words, only().state) == (words, state)


def test_probe_of_an_earlier_revision_says_nothing(used: SeccompProfile) -> None:
    probed(used)
    revisions.put_in_force(revisions.add_revision(used, denying("mount")), by="")
    assert only().probe is None


def test_probe_of_hours_ago_is_stale(used: SeccompProfile) -> None:
    probed(used, hours=3)
    assert (only().words, only().state, only().why_stale) == ("Stale: enforced", "warning", "the probe is too old")


def test_probe_from_before_the_runtime_was_changed_is_stale(used: SeccompProfile) -> None:
    probed(used)
    Runtime.objects.get().save()
    assert (only().state, only().why_stale) == ("warning", "python has changed since the probe")


def test_of_several_nodes_the_worst_counts(used: SeccompProfile) -> None:
    bad = probed(used, node="a", verdict="not_enforced")
    probed(used, node="b")
    assert only().probe == bad


def test_node_that_probes_no_more_does_not_count(used: SeccompProfile) -> None:
    probed(used, node="a", verdict="not_enforced", hours=3)
    good = probed(used, node="b")
    assert only().probe == good


def test_the_worst_comes_first(used: SeccompProfile) -> None:
    probed(used)
    Runtime.objects.create(slug="zig", name="Zig", image="x", source_file="main.zig", seccomp_profile=used)
    assert [standing.runtime.slug for standing in standings()] == ["zig", "python"]
