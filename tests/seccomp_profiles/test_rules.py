import platform
from typing import Any

import pytest

from seccomp_profiles.diff import diff
from seccomp_profiles.rules import GO_ARCHITECTURES, in_words, outcomes, why_dropped
from tests.seccomp_profiles.test_validators import ALLOW, DENY, EQUAL, deny, profile


def outcome(*rules: Any, name: str = "mkdir", **top: Any) -> str:
    return in_words(outcomes(profile(*rules, **top))[name])


def allow(*names: str, **rule: Any) -> Any:
    return {"names": list(names), "action": ALLOW} | rule


def test_call_without_a_rule_gets_the_default() -> None:
    assert outcome(defaultAction="SCMP_ACT_KILL") == "killed"


def test_first_rule_decides() -> None:
    assert outcome(deny("mkdir"), allow("mkdir")) == "denied"


def test_condition_is_tried_before_what_follows() -> None:
    rules = deny("mkdir", args=[EQUAL]), allow("mkdir")
    assert outcome(*rules) == "denied if argument 0 = 0x1, else allowed"


def test_masked_condition_is_shown_as_one() -> None:
    masked = {"index": 1, "value": 7, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}
    assert outcome(deny("mkdir", args=[masked])) == "denied if argument 1 & 0x7 = 0x2, else allowed"


def test_condition_whose_outcome_is_the_default_says_nothing() -> None:
    assert outcome(allow("mkdir", args=[EQUAL])) == "allowed"


def test_no_filter_allows_everything() -> None:
    assert {in_words(found) for found in outcomes(None).values()} == {"allowed"}


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, "only with CAP_SYS_ADMIN, which no sandbox has"),
        ({"includes": {"caps": ["CAP_KILL"]}}, ""),
        ({"excludes": {"caps": ["CAP_KILL"]}}, "excluded with CAP_KILL, which sandboxes have"),
        ({"includes": {"arches": ["s390x"]}}, "only for s390x"),
        ({"includes": {"minKernel": "99.0"}}, "only from kernel 99.0 on"),
        ({"includes": {"minKernel": "3.1"}}, ""),
        ({"excludes": {"minKernel": "3.1"}}, "excluded from kernel 3.1 on"),
    ],
)
def test_rule_is_dropped_as_docker_drops_it(rule: Any, why: str) -> None:
    assert why_dropped(deny("mkdir", **rule)) == why


def test_rule_for_this_machine_stays() -> None:
    machine = GO_ARCHITECTURES[platform.machine()]
    assert why_dropped(deny("mkdir", includes={"arches": [machine]})) == ""


def test_diff_tells_denied_allowed_and_changed_apart() -> None:
    found = diff(profile(deny("mkdir"), deny("rmdir")), profile(deny("mount"), deny("rmdir", args=[EQUAL])))
    names = [[change.syscall for change in kind] for kind in (found.denied, found.allowed, found.changed)]
    assert names == [["mount"], ["mkdir"], ["rmdir"]]


def test_diff_of_what_is_only_written_differently_is_empty() -> None:
    assert not diff(profile(deny("mkdir", "rmdir")), profile(deny("mkdir"), {"name": "rmdir", "action": DENY}))
