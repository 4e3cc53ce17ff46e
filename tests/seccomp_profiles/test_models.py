import json

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from seccomp_profiles.models import SeccompProfile
from seccomp_profiles.validators import validate_profile

RULE = {"names": ["mount"], "action": "SCMP_ACT_ERRNO"}


def test_profile_without_rules_is_unconfined() -> None:
    assert SeccompProfile(rules=None).docker_value == "unconfined"


def test_profile_with_rules_is_passed_as_json() -> None:
    rules = {"defaultAction": "SCMP_ACT_ALLOW"}
    assert json.loads(SeccompProfile(rules=rules).docker_value) == rules


def test_hash_does_not_depend_on_the_order_of_keys() -> None:
    one = SeccompProfile(rules={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []})
    other = SeccompProfile(rules={"syscalls": [], "defaultAction": "SCMP_ACT_ALLOW"})
    assert one.sha256 == other.sha256


def test_name_is_unique(db: None) -> None:
    SeccompProfile.objects.create(name="one")
    with pytest.raises(IntegrityError, match="name"):
        SeccompProfile.objects.create(name="one")


@pytest.mark.parametrize(
    "rules",
    [
        None,
        {"defaultAction": "SCMP_ACT_ALLOW"},
        {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [RULE]},
        {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": []},
    ],
)
def test_valid_profile(rules: object) -> None:
    validate_profile(rules)


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ([], "JSON object"),
        ({}, "defaultAction"),
        ({"defaultAction": "allow"}, "defaultAction"),
        ({"defaultAction": "SCMP_ACT_KILL_PROCESS"}, "does not start with SCMP_ACT_KILL_PROCESS"),
        ({"defaultAction": "SCMP_ACT_LOG"}, "does not start"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {}}, "must be a list"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [RULE, "x"]}, "rule 2"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [RULE | {"names": []}]}, "rule 1: names"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [RULE | {"names": "mount"}]}, "rule 1: names"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [RULE | {"names": [1]}]}, "rule 1: names"),
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [RULE | {"action": "SCMP_ACT_NOTIFY"}]},
            "rule 1: action",
        ),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"]}]}, "rule 1: action"),
    ],
)
def test_invalid_profile(rules: object, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        validate_profile(rules)
