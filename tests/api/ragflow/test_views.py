"""POST /run refuses in a client's name, before anything runs."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.http import HttpRequest
from django.test import Client as Http
from django.utils import timezone

from api.ragflow.views import answered, place_for
from clients.models import Client, ClientStorage, ClientUsage, Role
from clients.models.usage import SECONDS
from executions import places, waiting
from executions.models import Artifact, Execution, Status
from executions.waiting import Hub
from runtimes.models import Runtime
from tests.api.conforming import ConformingClient
from tests.conftest import TOKEN

MakeExecution = Callable[..., Execution]


@pytest.fixture(autouse=True)
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection would stay open for good, and the test database could not be dropped. None of these calls
    gets as far as waiting."""
    monkeypatch.setattr(Hub, "_listen", lambda hub: hub._listening.set())


@pytest.fixture
def client() -> ConformingClient:
    return ConformingClient()


@pytest.fixture
def caller(client_with_token: tuple[Client, str], python_runtime: Runtime) -> Client:
    return client_with_token[0]


def run(http: Http, agent: str = "") -> Any:
    body = {"code_b64": base64.b64encode(b"def main(): return 1").decode(), "language": "python"}
    headers = {"Authorization": f"Bearer {TOKEN}", "User-Agent": agent}
    return http.post("/run", json.dumps(body), content_type="application/json", headers=headers)


def test_auditor_may_not_run(client: Http, caller: Client) -> None:
    Client.objects.update(role=Role.AUDITOR)
    answer = run(client)
    assert (answer.status_code, "auditor" in answer.json()["detail"]) == (403, True)
    assert not Execution.objects.exists()


def test_runtime_that_is_not_allowed_is_403_and_named(client: Http, caller: Client) -> None:
    Client.objects.update(allowed_runtimes=["nodejs"])
    answer = run(client)
    assert (answer.status_code, "only nodejs" in answer.json()["detail"]) == (403, True)


def test_row_says_what_the_caller_can_read(client: Http, caller: Client) -> None:
    Runtime.objects.update(enabled=False)
    run(client)
    row = Execution.objects.get()
    kept = [".png", ".jpg", ".jpeg", ".svg", ".pdf", ".csv", ".json", ".html"]
    assert (row.artifact_suffixes, row.announce_start) == (kept, False)


@pytest.mark.parametrize(
    "agent, labels", [("curl/8.5.0", {"caller": "curl"}), ("python-requests/2.32.3", {}), ("", {})]
)
def test_run_by_hand_has_a_label(client: Http, caller: Client, agent: str, labels: dict[str, str]) -> None:
    Runtime.objects.update(enabled=False)
    run(client, agent)
    assert Execution.objects.get().labels == labels


@pytest.mark.parametrize("limit", ["max_runs_per_minute", "max_runs_per_day"])
def test_client_over_its_limit_is_told_when_to_come_again(client: Http, caller: Client, limit: str) -> None:
    Client.objects.update(**{limit: 2})
    # Ahead, so that the test may pass midnight.
    now = timezone.now() + timedelta(minutes=5)
    recent = [0] * (SECONDS - 1) + [2]
    ClientUsage.objects.create(client=caller, second=now.timestamp(), recent=recent, day=now, day_used=2)
    answer = run(client)
    assert answer.status_code == 429
    body = answer.json()
    assert (body["limit"], body["value"], body["used"]) == (limit, 2, 2)
    assert body["frees_at"]
    assert body["detail"]
    assert int(answer["Retry-After"]) > 0
    assert not Execution.objects.exists()


def test_client_that_stores_too_much_is_429(client: Http, caller: Client) -> None:
    Client.objects.update(max_stored_bytes=2**20)
    ClientStorage.objects.create(client=caller, bytes=2**20)
    answer = run(client)
    assert (answer.status_code, answer["Retry-After"]) == (429, "3600")
    body = answer.json()
    assert (body["limit"], body["value"], body["used"], body["frees_at"]) == (
        "max_stored_bytes",
        2**20,
        2**20,
        None,
    )
    assert "may hold 1 MiB" in body["detail"]
    assert "retention" in body["detail"]
    assert not Execution.objects.exists()


def test_client_with_too_many_open_is_429(client: Http, caller: Client, make_execution: MakeExecution) -> None:
    Client.objects.update(max_open_executions=1)
    make_execution(client=caller, status=Status.RUNNING)
    answer = run(client)
    assert (answer.status_code, answer["Retry-After"]) == (429, "1")
    assert answer.json()["limit"] == "max_open_executions"


def test_answer_with_large_artifacts_waits_for_its_place(
    caller: Client, make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = places.Places(1, share=1)
    monkeypatch.setattr(places, "pages", one)
    monkeypatch.setattr(places, "LARGE_PAGE_BYTES", 3)
    monkeypatch.setattr(places, "LOOK_S", 0)
    monkeypatch.setattr(connection, "close", lambda: None)
    execution = make_execution(client=caller, exit_code=0, result="1", artifact_count=2)
    for name in ("a.csv", "b.csv"):
        Artifact.objects.create(execution=execution, name=name, content=b"1,", size=2)

    def one_less() -> bool:
        one.give_back(2)
        return False

    assert one.take(2)
    monkeypatch.setattr(waiting, "gives_up", lambda http: lambda: True)
    with pytest.raises(places.TooManyLargePages):
        place_for(execution, caller.pk, HttpRequest())
    # However many requests wait for a run's place: a refusal would lose the run.
    monkeypatch.setattr(places, "queued", full := places.Places(1, share=1))
    assert full.take(None)
    monkeypatch.setattr(waiting, "gives_up", lambda http: one_less)
    place = place_for(execution, caller.pk, HttpRequest())
    assert "stdout" not in vars(execution)
    answer = answered(execution, place)
    del place
    assert [artifact["name"] for artifact in answer.data["artifacts"]] == ["a.csv", "b.csv"]
    assert not one.take(2)
    answer.close()
    assert one.take(2)
