import json
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from clients.models import Client
from inspections.models import Inspection
from runtimes.models import Runtime
from seccomp_profiles import revisions
from seccomp_profiles.models import SeccompProfile
from tests.api.conforming import ConformingClient
from tests.api.v1.conftest import API

PROFILES = f"{API}/seccomp-profiles"
ALLOW: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW"}
NO_MKDIR = ALLOW | {"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}
NO_RMDIR = ALLOW | {"syscalls": [{"names": ["rmdir"], "action": "SCMP_ACT_ERRNO"}]}


@pytest.fixture
def quiet(root: APIClient) -> SeccompProfile:
    return revisions.create_profile("quiet", NO_MKDIR)


@pytest.fixture
def used(quiet: SeccompProfile) -> SeccompProfile:
    Runtime.objects.update(seccomp_profile=quiet)
    return quiet


def post(client: APIClient, path: str, body: Any, status: int) -> Any:
    answer = client.post(f"{PROFILES}{path}", body, format="json")
    assert answer.status_code == status, answer.content
    return answer.json()


def test_profile_tells_what_is_in_force_and_who_uses_it(root: APIClient, used: SeccompProfile) -> None:
    revisions.add_revision(used, NO_RMDIR)
    Client.objects.create(name="picky", seccomp_profile=used)
    shown = root.get(f"{PROFILES}/quiet").json()
    assert (shown["revision"], shown["newest_revision"], shown["rules"]) == (1, 2, NO_MKDIR)
    assert (shown["runtimes"], shown["clients"]) == (["python"], ["picky"])


def test_client_does_not_see_which_others_use_a_profile(api: APIClient, used: SeccompProfile) -> None:
    Client.objects.create(name="picky", seccomp_profile=used)
    assert api.get(f"{PROFILES}/quiet").json()["clients"] == []


def test_added_profile_says_who_made_it_and_why(root: APIClient) -> None:
    post(root, "", {"name": "quiet", "rules": NO_MKDIR, "note": "why"}, 201)
    shown = root.get(f"{PROFILES}/quiet/revisions/1").json()
    assert (shown["created_by"], shown["note"], shown["active"]) == ("client root", "why", True)


def test_profile_extends_another(root: APIClient, quiet: SeccompProfile) -> None:
    post(root, "", {"name": "child", "parent": "quiet", "deny": ["rmdir"]}, 201)
    shown = root.get(f"{PROFILES}/child/revisions/1").json()
    assert (shown["parent_revision"], shown["deny"]) == (1, ["rmdir"])
    assert [rule["names"] for rule in shown["effective"]["syscalls"]] == [["mkdir"], ["rmdir"]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x", "parent": "nope"}, "parent"),
        ({"name": "x", "parent": "quiet", "rules": NO_MKDIR}, "deny"),
        ({"name": "x", "parent": "quiet", "deny": ["setresuid"]}, "deny"),
        ({"name": "x", "parent": "quiet", "deny": ["mkdir"], "allow": ["mkdir"]}, "deny"),
        ({"name": "x", "deny": ["mkdir"]}, "deny"),
        ({"name": "x", "parent": "quiet", "deny": ["Not A Name"]}, "deny[0]"),
        ({"name": "quiet", "rules": None}, "name"),
        ({"name": "validate", "rules": None}, "name"),
        ({"rules": None}, "name"),
    ],
)
def test_what_cannot_be_added_is_refused_with_its_field(
    root: APIClient, quiet: SeccompProfile, body: Any, field: str
) -> None:
    assert post(root, "", body, 422)["field"] == field
    assert SeccompProfile.objects.count() == 1


def test_new_revision_is_a_draft(root: APIClient, used: SeccompProfile) -> None:
    answer = post(root, "/quiet/revisions", {"rules": NO_RMDIR}, 201)
    assert (answer["number"], answer["active"], answer["verdicts"][0]["verdict"]) == (2, False, "")
    assert [row["number"] for row in root.get(f"{PROFILES}/quiet/revisions").json()] == [2, 1]


def test_new_revision_needs_rules(root: APIClient, quiet: SeccompProfile) -> None:
    # Nothing would mean no filter.
    assert post(root, "/quiet/revisions", {}, 422)["field"] == "rules"


def test_empty_revision_of_a_child_takes_over_its_parents_changes(root: APIClient, quiet: SeccompProfile) -> None:
    revisions.create_profile("child", parent=quiet, deny=["rmdir"])
    revisions.put_in_force(revisions.add_revision(quiet, None), by="x")
    assert root.get(f"{PROFILES}/child").json()["parent_is_newer"] is True
    answer = post(root, "/child/revisions", {}, 201)
    assert (answer["parent_revision"], answer["deny"]) == (2, ["rmdir"])


def test_unproven_revision_is_a_conflict_with_a_remedy(root: APIClient, used: SeccompProfile) -> None:
    revisions.add_revision(used, NO_RMDIR)
    problem = post(root, "/quiet/revisions/2/activate", {}, 409)
    assert (problem["field"], "Probe" in problem["remedy"]) == ("override", True)


def test_reason_activates_what_is_not_proven(root: APIClient, used: SeccompProfile) -> None:
    revisions.add_revision(used, NO_RMDIR)
    answer = post(root, "/quiet/revisions/2/activate", {"override": "an incident"}, 200)
    assert (answer["previous"], answer["activated_by"], answer["override"]) == (1, "client root", "an incident")
    assert root.get(f"{PROFILES}/quiet").json()["rules"] == NO_RMDIR


def test_proven_revision_is_activated(root: APIClient, used: SeccompProfile) -> None:
    runtime = Runtime.objects.get()
    Inspection.objects.create(
        kind="probe", state="done", verdict="enforced", revision=revisions.add_revision(used, NO_RMDIR),
        runtime=runtime, runtime_revision=runtime.revision, finished_at=timezone.now(),
    )  # fmt: skip
    assert post(root, "/quiet/revisions/2/activate", {}, 200)["override"] == ""


def test_change_of_rules_in_use_is_a_conflict_and_leaves_nothing(root: APIClient, used: SeccompProfile) -> None:
    answer = root.patch(f"{PROFILES}/quiet", {"rules": NO_RMDIR, "description": "new"}, format="json")
    assert (answer.status_code, used.revisions.count()) == (409, 1)
    assert SeccompProfile.objects.get().description == ""


def test_change_of_a_name_makes_no_revision(root: APIClient, used: SeccompProfile) -> None:
    answer = root.patch(f"{PROFILES}/quiet", {"name": "silent"}, format="json")
    assert (answer.json()["name"], answer.json()["newest_revision"]) == ("silent", 1)


@pytest.mark.parametrize("number", [9, 2**63])
def test_revision_that_is_not_there_is_not_found(root: APIClient, quiet: SeccompProfile, number: int) -> None:
    assert root.get(f"{PROFILES}/quiet/revisions/{number}").status_code == 404


def test_diff_is_between_what_is_in_force_and_the_newest(root: APIClient, quiet: SeccompProfile) -> None:
    revisions.add_revision(quiet, NO_RMDIR)
    found = root.get(f"{PROFILES}/quiet/diff").json()
    assert [[c["syscall"] for c in found[kind]] for kind in ("denied", "allowed")] == [["rmdir"], ["mkdir"]]


@pytest.mark.parametrize(
    ("query", "field"), [("before=x", "before"), ("after=7", "after"), ("before=parent", "before")]
)
def test_diff_with_what_is_not_there_names_the_parameter(
    root: APIClient, quiet: SeccompProfile, query: str, field: str
) -> None:
    answer = root.get(f"{PROFILES}/quiet/diff?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_export_is_what_docker_takes(root: APIClient, quiet: SeccompProfile) -> None:
    assert root.get(f"{PROFILES}/quiet/revisions/1/export").json() == NO_MKDIR


def test_export_of_no_filter_is_a_conflict(root: APIClient) -> None:
    revisions.create_profile("free")
    assert root.get(f"{PROFILES}/free/revisions/1/export").status_code == 409


def test_validation_tells_errors_at_their_rule_and_changes_nothing(root: APIClient) -> None:
    rules = ALLOW | {"syscalls": [{"names": ["mkdri"], "action": "SCMP_ACT_LOG"}]}
    answer = post(root, "/validate", {"rules": rules}, 200)
    assert (answer["valid"], answer["findings"][0]["path"]) == (False, "syscalls[0].action")
    assert not SeccompProfile.objects.exists()


def test_validation_of_changes_shows_what_they_make_of_the_parent(root: APIClient, quiet: SeccompProfile) -> None:
    answer = post(root, "/validate", {"parent": "quiet", "allow": ["mkdir"]}, 200)
    assert (answer["valid"], answer["effective"]) == (True, ALLOW | {"syscalls": []})


@pytest.mark.parametrize("rules", [1, "x", [[]], {"syscalls": {}}, {"defaultAction": "\ud800"}])
def test_validation_answers_any_json(root: APIClient, rules: Any) -> None:
    body = json.dumps({"rules": rules})
    assert root.post(f"{PROFILES}/validate", body, content_type="application/json").status_code in (200, 422)


@pytest.mark.parametrize("path", ["/validate", "/quiet/revisions", "/quiet/revisions/1/activate"])
def test_only_administrators_change_anything(quiet: SeccompProfile, path: str) -> None:
    _, token = Client.objects.create_with_token("other")
    caller = ConformingClient(headers={"Authorization": f"Bearer {token}"})
    assert caller.post(f"{PROFILES}{path}", {}, format="json").status_code == 403
    assert caller.get(f"{PROFILES}/quiet/revisions/1").status_code == 200


def test_client_is_told_of_its_own_profile(root: APIClient, quiet: SeccompProfile) -> None:
    Client.objects.filter(name="root").update(seccomp_profile=quiet)
    assert root.get(f"{API}/me").json()["seccomp_profile"] == "quiet"
