import json
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from seccomp_profiles.findings import ERROR, INFO, WARNING, Finding
from seccomp_profiles.validators import REFUSED_ACTIONS, findings, findings_for_changes, validate_profile

ALLOW, DENY = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
EQUAL = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}


def profile(*rules: Any, **top: Any) -> Any:
    return {"defaultAction": ALLOW, "syscalls": list(rules)} | top


def deny(*names: str, **rule: Any) -> Any:
    return {"names": list(names), "action": DENY} | rule


def only(rules: Any, level: str) -> Finding:
    (finding,) = (finding for finding in findings(rules) if finding.level == level)
    return finding


def test_profile_that_is_fine_has_nothing_to_be_said_about_it() -> None:
    assert findings(profile(deny("mkdir"))) == []


def test_no_filter_has_nothing_to_be_said_about_it() -> None:
    assert findings(None) == []


@pytest.mark.parametrize("action", sorted(REFUSED_ACTIONS))
def test_action_that_gvisor_refuses_is_an_error_at_its_rule(action: str) -> None:
    found = only(profile(deny("mount"), deny("mkdir", action=action)), ERROR)
    assert (found.path, found.rule, found.remedy) == ("syscalls[1].action", 2, "Use SCMP_ACT_ERRNO.")


WRONG: dict[str, tuple[Any, str]] = {
    "argument beyond the sixth": (deny("mkdir", args=[EQUAL | {"index": 6}]), "args[0].index"),
    "operator": (deny("mkdir", args=[EQUAL | {"op": "="}]), "args[0].op"),
    "operator of another type": (deny("mkdir", args=[EQUAL | {"op": []}]), "args[0].op"),
    "negative value": (deny("mkdir", args=[EQUAL | {"value": -1}]), "args[0].value"),
    "value above 64 bits": (deny("mkdir", args=[EQUAL | {"valueTwo": 2**64}]), "args[0].valueTwo"),
    "broken number": (deny("mkdir", args=[EQUAL | {"value": 1.5}]), "args[0].value"),
    "arguments of another type": (deny("mkdir", args={}), "args"),
    "condition of another type": (deny("mkdir", args=[1]), "args[0]"),
    "errno": (deny("mkdir", errnoRet=-1), "errnoRet"),
    "kernel": (deny("mkdir", includes={"minKernel": "new"}), "includes.minKernel"),
    "capabilities": (deny("mkdir", excludes={"caps": "CAP_KILL"}), "excludes.caps"),
    "filter of another type": (deny("mkdir", includes=[]), "includes"),
    "comment": (deny("mkdir", comment=1), "comment"),
    "both forms of names": (deny("mkdir", name="rmdir"), "name"),
    "names of another type beside a name": ({"name": "mkdir", "names": "", "action": DENY}, "names"),
    "key in another case, which Docker takes": (deny("mkdir", ARGS=[]), "ARGS"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_docker_or_gvisor_refuses_is_an_error_with_its_path(case: str) -> None:
    rule, path = WRONG[case]
    assert only(profile(rule), ERROR).path == f"syscalls[0].{path}"


@pytest.mark.parametrize(
    ("top", "path"),
    [
        ({"architectures": "SCMP_ARCH_X86_64"}, "architectures"),
        ({"architectures": ["SCMP_ARCH_X86"], "archMap": [{}]}, "archMap"),
        ({"archMap": ""}, "archMap"),
        ({"archMap": ["SCMP_ARCH_X86"]}, "archMap"),
        ({"archMap": [{"subArchitectures": "SCMP_ARCH_X86"}]}, "archMap[0].subArchitectures"),
        ({"defaultErrnoRet": True}, "defaultErrnoRet"),
        ({"flags": [1]}, "flags"),
        ({"defaultAction": ["x"]}, "defaultAction"),
    ],
)
def test_what_docker_refuses_at_the_top_is_an_error(top: Any, path: str) -> None:
    assert only(profile(**top), ERROR).path == path


def test_errno_is_said_to_be_ignored() -> None:
    assert "EPERM" in only(profile(deny("mkdir", errnoRet=38)), WARNING).message


def test_typing_error_is_told_with_what_was_meant() -> None:
    found = only(profile(deny("mkdri")), WARNING)
    assert (found.syscall, found.remedy) == ("mkdri", "Did you mean mkdir?")


def test_call_that_gvisor_lacks_is_a_remark() -> None:
    assert "stat64" in only(profile(deny("stat64")), INFO).message


def test_rule_behind_one_that_decides_is_never_reached() -> None:
    found = only(profile(deny("mkdir"), {"names": ["mkdir"], "action": ALLOW}), WARNING)
    assert (found.rule, "rule 1 decides" in found.message) == (2, True)


def test_rule_behind_a_condition_is_reached() -> None:
    found = findings(profile(deny("mkdir", args=[EQUAL]), {"names": ["mkdir"], "action": ALLOW}))
    assert not [finding for finding in found if "Never reached" in finding.message]


def test_rule_that_docker_leaves_out_is_told() -> None:
    found = only(profile(deny("mkdir", includes={"caps": ["CAP_SYS_ADMIN"]})), INFO)
    assert "CAP_SYS_ADMIN, which no sandbox has" in found.message


def test_two_conditions_on_one_argument_are_alternatives() -> None:
    assert "any of its conditions" in only(profile(deny("mkdir", args=[EQUAL, EQUAL])), WARNING).message


def test_mask_that_never_matches_is_told() -> None:
    masked = {"index": 1, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}
    assert "never matches" in only(profile(deny("mkdir", args=[masked])), WARNING).message


def test_call_without_which_no_sandbox_starts_may_not_be_denied() -> None:
    with pytest.raises(ValidationError, match="rule 1: setresuid is denied: the runner becomes the user nobody"):
        validate_profile(profile(deny("setresuid")))


def test_default_that_denies_what_the_runner_needs_is_an_error() -> None:
    found = [finding for finding in findings({"defaultAction": DENY}) if finding.level == ERROR]
    assert {finding.path for finding in found} == {"defaultAction"}


def test_call_that_only_some_runtimes_need_is_a_warning() -> None:
    assert only(profile(deny("clone3")), WARNING).syscall == "clone3"


def test_condition_on_what_the_runner_needs_is_no_error() -> None:
    validate_profile(profile(deny("clone", args=[EQUAL])))


def test_dockers_older_form_is_understood() -> None:
    assert findings(profile({"name": "mkdir", "action": DENY})) == []


def test_name_in_both_lists_of_changes_is_an_error() -> None:
    (found,) = findings_for_changes(["mkdir"], ["mkdir"], None)
    assert (found.level, found.path) == (ERROR, "deny")


@pytest.mark.parametrize("rules", [1, "x", [], {"syscalls": [None]}, {"defaultAction": None, "syscalls": 1}])
def test_any_json_is_answered_with_errors(rules: Any) -> None:
    assert {finding.level for finding in findings(json.loads(json.dumps(rules)))} == {ERROR}
