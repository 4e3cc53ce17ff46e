import json

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import Model

from seccomp_profiles import revisions
from seccomp_profiles.models import (
    SeccompActivation,
    SeccompProfile,
    SeccompRevision,
    docker_value,
    hash_rules,
)
from seccomp_profiles.validators import validate_profile

ALLOW = {"defaultAction": "SCMP_ACT_ALLOW"}
RULE = {"names": ["mount"], "action": "SCMP_ACT_ERRNO"}


def test_profile_without_rules_is_unconfined() -> None:
    assert docker_value(None) == "unconfined"


def test_profile_with_rules_is_passed_as_json() -> None:
    rules = {"defaultAction": "SCMP_ACT_ALLOW"}
    assert json.loads(docker_value(rules)) == rules


def test_hash_does_not_depend_on_the_order_of_keys() -> None:
    one, other = (
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []},
        {"syscalls": [], "defaultAction": "SCMP_ACT_ALLOW"},
    )
    assert hash_rules(one) == hash_rules(other)


def test_name_is_unique(db: None) -> None:
    SeccompProfile.objects.create(name="one")
    with pytest.raises(IntegrityError, match="name"):
        SeccompProfile.objects.create(name="one")


def changed(profile: SeccompProfile, rules: dict[str, object] | None) -> SeccompRevision:
    revision = revisions.add_revision(profile, rules)
    revisions.put_in_force(revision, by="root")
    return revision


def test_revisions_are_numbered_per_profile(db: None) -> None:
    profile = revisions.create_profile("one", ALLOW)
    revisions.create_profile("other", ALLOW)
    assert changed(profile, None).number == 2


def test_profile_says_what_its_active_revision_says(db: None) -> None:
    profile = revisions.create_profile("one", ALLOW)
    revisions.add_revision(profile, None)
    assert SeccompProfile.objects.get().rules == ALLOW


def test_profile_without_revision_is_not_taken_for_no_filter(db: None) -> None:
    with pytest.raises(ValueError, match="no revision"):
        _ = SeccompProfile.objects.create(name="one").docker_value


def test_rules_of_then_are_found_by_their_hash(db: None) -> None:
    profile = revisions.create_profile("one", ALLOW)
    then = profile.sha256
    changed(profile, None)
    assert SeccompProfile.objects.with_sha256(then) == profile.revisions.get(number=1)


def test_of_equal_rules_those_of_the_named_profile_are_found(db: None) -> None:
    first = revisions.create_profile("one", ALLOW)
    revisions.create_profile("other", ALLOW)
    found = SeccompProfile.objects.with_sha256(first.sha256, name="one")
    assert found and found.profile == first


@pytest.mark.parametrize("model", [SeccompRevision, SeccompActivation])
@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}"])
def test_revision_and_activation_are_final(db: None, model: type[Model], statement: str) -> None:
    revisions.create_profile("one", ALLOW)
    with pytest.raises(DatabaseError, match="is final"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format(model._meta.db_table))


def test_profile_takes_its_revisions_with_it(db: None) -> None:
    revisions.create_profile("one", ALLOW).delete()
    assert not SeccompRevision.objects.exists()


@pytest.mark.parametrize(
    "rules",
    [
        None,
        {"defaultAction": "SCMP_ACT_ALLOW"},
        ALLOW | {"syscalls": [RULE]},
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
        ({"defaultAction": "SCMP_ACT_KILL_PROCESS"}, "does not start a container with SCMP_ACT_KILL_PROCESS"),
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
