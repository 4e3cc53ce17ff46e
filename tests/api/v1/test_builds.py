"""Builds over the API; what they do is in tests/builds."""

import json
from typing import Any

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from builds.models import BuildState, RuntimeBuild
from clients.models import Client, Role
from runtimes.models import Runtime
from tests.api.conforming import ConformingClient
from tests.api.v1.conftest import API

BUILDS = f"{API}/runtimes/python/builds"


@pytest.fixture
def root(api: APIClient) -> APIClient:
    """An administrator's token."""
    _, token = Client.objects.create_with_token("root", role=Role.ADMINISTRATOR)
    return ConformingClient(headers={"Authorization": f"Bearer {token}"})


def start(root: APIClient, body: Any) -> Any:
    return root.post(BUILDS, json.dumps(body), content_type="application/json")


def test_build_is_started_and_shown(root: APIClient) -> None:
    answer = start(root, {"packages": {"pip": ["humanize==4.9.0"]}})
    assert answer.status_code == 202, answer.content
    assert (answer["Location"], answer.json()["state"]) == (f"{BUILDS}/1", "queued")
    assert answer.json()["requested_by"] == "client root"
    assert root.get(answer["Location"]).json() == answer.json() | {"log": "", "log_size": 0}
    assert root.get(BUILDS).json() == [answer.json()]


def test_packages_that_are_left_out_are_those_it_has(root: APIClient) -> None:
    Runtime.objects.update(packages={"apt": ["jq"]})
    assert start(root, {"kind": "pull"}).json()["packages"] == {"apt": ["jq"], "pip": [], "npm": []}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"packages": {"pip": ["-r/etc/passwd"]}}, "packages.pip"),
        ({"packages": {"apt": ["jq", "jq"]}}, "packages.apt"),
        ({"packages": {"gem": ["x"]}}, "packages.gem"),
        ({"packages": {"pip": [1]}}, "packages.pip"),
        ({"packages": {"pip": ["a\0"]}}, "packages.pip"),
        ({"packages": {"pip": ["\ud800"]}}, "packages.pip"),
        ({"packages": {"pip": "x"}}, "packages.pip"),
        ({"packages": []}, "packages"),
        ({"packages": None}, "packages"),
        ({"kind": "magic"}, "kind"),
        ({"kinds": "pull"}, "kinds"),
    ],
)
def test_error_names_the_field(root: APIClient, body: Any, field: str) -> None:
    answer = start(root, body)
    assert answer.status_code == 422, answer.content
    assert answer.json()["field"].startswith(field)
    assert not RuntimeBuild.objects.exists()


def test_second_build_is_refused_while_one_is_under_way(root: APIClient) -> None:
    start(root, {})
    answer = start(root, {})
    assert (answer.status_code, answer.json()["code"] if "code" in answer.json() else answer.json()["type"]) == (
        409, "urn:sandbox-platform:problem:build_under_way",
    )  # fmt: skip


@pytest.mark.parametrize("role", [Role.CALLER, Role.AUDITOR])
def test_builds_are_for_administrators(root: APIClient, role: Role) -> None:
    start(root, {})
    _, token = Client.objects.create_with_token("other", role=role)
    other = ConformingClient(headers={"Authorization": f"Bearer {token}"})
    answers = [other.get(BUILDS), other.get(f"{BUILDS}/1"), start(other, {}), other.post(f"{BUILDS}/1/cancel")]
    answers.append(other.post(f"{BUILDS}/1/activate"))
    assert {answer.status_code for answer in answers} == {403}


@pytest.mark.parametrize("path", ["2", "0", f"{10**30}", "2/cancel", "2/activate", "2/deactivate"])
def test_build_that_is_not_there_is_404(root: APIClient, path: str) -> None:
    start(root, {})
    ask = root.post if "/" in path else root.get
    assert ask(f"{BUILDS}/{path}").status_code == 404


def test_log_goes_on_where_it_was_left(root: APIClient) -> None:
    start(root, {})
    RuntimeBuild.objects.update(log="one\ntwo\n")
    first = root.get(f"{BUILDS}/1").json()
    assert (first["log"], first["log_size"]) == ("one\ntwo\n", 8)
    assert root.get(f"{BUILDS}/1", {"since": 4}).json()["log"] == "two\n"
    assert root.get(f"{BUILDS}/1", {"since": 999}).json()["log"] == ""


@pytest.mark.parametrize("since", ["-1", "x", "1" * 30, "1.5", "²"])
def test_since_is_a_number(root: APIClient, since: str) -> None:
    start(root, {})
    assert root.get(f"{BUILDS}/1", {"since": since}).status_code == 422


def test_build_is_cancelled_once(root: APIClient) -> None:
    start(root, {})
    assert root.post(f"{BUILDS}/1/cancel").json()["state"] == "cancelled"
    assert root.post(f"{BUILDS}/1/cancel").status_code == 409


def test_build_without_an_image_is_not_activated(root: APIClient) -> None:
    start(root, {})
    RuntimeBuild.objects.update(state=BuildState.FAILED)
    answer = root.post(f"{BUILDS}/1/activate")
    assert answer.status_code == 409
    assert answer.json()["remedy"] == "Build it again."


def test_live_build_is_rolled_back_once(root: APIClient) -> None:
    start(root, {})
    RuntimeBuild.objects.update(state=BuildState.LIVE, image_id="sha256:1")
    assert root.post(f"{BUILDS}/1/deactivate").json()["state"] == "ready"
    assert root.post(f"{BUILDS}/1/deactivate").status_code == 409


def test_build_without_a_registry_is_refused_with_what_to_set(root: APIClient, settings: Settings) -> None:
    settings.SANDBOX_BUILDER, settings.SANDBOX_IMAGE_SOURCE = "buildah", "archive"
    answer = start(root, {"kind": "pull"})
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (409, "builds_not_available")
    assert "SANDBOX_IMAGE_REGISTRY" in answer.json()["remedy"]
    assert not RuntimeBuild.objects.exists()
