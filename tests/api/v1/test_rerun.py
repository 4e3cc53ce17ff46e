"""What stands in the way of a rerun as it was then; reruns themselves: test_live.py."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from clients.models import Client
from executions.models import Execution
from runtimes.models import Runtime
from sandboxes import images
from seccomp_profiles.models import hash_rules
from tests.api.v1.conftest import API

pytestmark = pytest.mark.django_db
NOW, THEN = "sha256:now", "sha256:then"
CODE = "print(1)"


@pytest.fixture
def ended(mine: Callable[..., Execution]) -> Callable[..., Execution]:
    def ended(**overrides: Any) -> Execution:
        fields = {
            "code": CODE,
            "code_sha256": hashlib.sha256(CODE.encode()).hexdigest(),
            "image_id": THEN,
            "profile_name": "unconfined",
            "profile_sha256": hash_rules(None),
            "variables": {"A": "b"},
        }
        return mine(**fields | overrides)

    return ended


@pytest.fixture(autouse=True)
def images_of_the_node(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    known = {"sandbox-platform/runtime-python:latest": NOW, THEN: THEN}
    monkeypatch.setattr(images, "image_id", lambda reference: known.get(reference, ""))
    return known


def rerun(api: APIClient, execution: Execution, configuration: str = "then") -> Any:
    body = {"configuration": configuration}
    return api.post(f"{API}/executions/{execution.pk}/rerun", body, format="json")


def test_rerun_as_then_is_pinned_to_what_it_was(api: APIClient, ended: Callable[..., Execution]) -> None:
    first = ended()
    answer = rerun(api, first)
    row = Execution.objects.get(pk=answer.json()["execution"]["id"])
    assert answer.status_code == 202
    assert (row.pinned, row.image_id, row.rerun_of, row.variables) == (True, THEN, first.pk, {"A": "b"})
    assert {"field": "image_id", "then": THEN, "now": NOW} in answer.json()["differences"]


def test_rerun_as_now_is_not_pinned(api: APIClient, ended: Callable[..., Execution]) -> None:
    row = rerun(api, ended(), "now").json()["execution"]
    assert (row["pinned"], row["image_id"]) == (False, "")


OBSTACLES: dict[str, tuple[dict[str, Any], str]] = {
    "image": ({"image_id": "sha256:gone"}, "sha256:gone no longer exists"),
    "no sandbox": ({"image_id": ""}, "never had a sandbox"),
    "profile": ({"profile_name": "strict", "profile_sha256": "0" * 64}, "profile strict"),
    "code": ({"code_sha256": "0" * 64}, "the stored code differs"),
}


@pytest.mark.parametrize(("fields", "says"), OBSTACLES.values(), ids=OBSTACLES)
def test_what_is_gone_is_a_conflict(
    api: APIClient, ended: Callable[..., Execution], fields: dict[str, Any], says: str
) -> None:
    first = ended(**fields)
    answer = rerun(api, first)
    assert (answer.status_code, Execution.objects.count()) == (409, 1)
    assert says in answer.json()["detail"]


def test_limits_above_todays_caps_are_a_conflict(api: APIClient, ended: Callable[..., Execution]) -> None:
    first = ended()
    Runtime.objects.update(wall_time_ms=5000)
    answer = rerun(api, first)
    assert answer.status_code == 409
    assert "wall_time_ms was 10 s, above today's cap of 5 s" in answer.json()["detail"]


def test_limits_above_the_clients_cap_are_a_conflict(
    api: APIClient, ended: Callable[..., Execution], client_row: Client
) -> None:
    first = ended()
    Client.objects.filter(pk=client_row.pk).update(max_wall_time_ms=5000)
    answer = rerun(api, first)
    assert answer.status_code == 409
    assert "wall_time_ms was 10 s, above today's cap of 5 s" in answer.json()["detail"]


def test_differences_are_those_of_the_two_rows(
    api: APIClient, ended: Callable[..., Execution], client_row: Client
) -> None:
    first = ended()
    Client.objects.filter(pk=client_row.pk).update(max_wall_time_ms=5000)
    answer = rerun(api, first, "now").json()
    second = Execution.objects.get(pk=answer["execution"]["id"])
    of_limits = {row["field"]: row["now"] for row in answer["differences"] if row["field"].startswith("limits.")}
    assert of_limits == {"limits.wall_time_ms": second.limits["wall_time_ms"]} == {"limits.wall_time_ms": 5000}


def test_rerun_keeps_the_artifacts_that_the_first_run_kept(
    api: APIClient, ended: Callable[..., Execution]
) -> None:
    answer = rerun(api, ended(artifact_suffixes=[".png"]), "now").json()
    assert Execution.objects.get(pk=answer["execution"]["id"]).artifact_suffixes == [".png"]


def test_strangers_execution_cannot_be_rerun(stranger: APIClient, ended: Callable[..., Execution]) -> None:
    assert rerun(stranger, ended()).status_code == 404


def test_without_a_keeper_it_is_503(
    api: APIClient, ended: Callable[..., Execution], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(reference: str) -> str:
        raise images.NobodyAnswers

    monkeypatch.setattr(images, "image_id", nobody)
    assert rerun(api, ended()).status_code == 503


def test_mode_that_the_runtime_has_no_more_is_a_conflict(api: APIClient, ended: Callable[..., Execution]) -> None:
    Runtime.objects.update(modes=["script"])
    answer = rerun(api, ended(mode="function"), "now")
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (409, "mode_gone")


def test_execution_of_before_there_was_a_compile_step_can_be_rerun(
    api: APIClient, ended: Callable[..., Execution], python_runtime: Runtime
) -> None:
    limits = {n: v for n, v in python_runtime.limits.as_dict().items() if not n.startswith("compile_")}
    assert rerun(api, ended(limits=limits)).status_code == 202
