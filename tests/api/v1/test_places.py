"""Requests that wait for an execution are counted, so that one client cannot take all threads of the web."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from clients.models import Client
from executions import places, waiting
from executions.models import Execution
from executions.places import Places
from tests.api.v1.conftest import API
from tests.conftest import TOKEN

pytestmark = pytest.mark.django_db
Submit = Callable[..., Any]
WAIT_S = 30


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch, client_row: Client) -> Places:
    """The client has its place already."""
    waits = Places(2, share=1)
    monkeypatch.setattr(places, "waits", waits)
    assert waits.take(client_row.pk)
    return waits


def at_once(answer: Callable[[], Any]) -> Any:
    began = time.monotonic()
    given = answer()
    assert time.monotonic() - began < WAIT_S - 5
    return given


def test_a_submission_without_a_place_is_answered_at_once(full: Places, submit: Submit) -> None:
    answer = at_once(lambda: submit(wait=WAIT_S))
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


def test_an_execution_is_read_without_a_place(full: Places, api: APIClient, submit: Submit) -> None:
    location = submit()["Location"]
    assert at_once(lambda: api.get(f"{location}?wait=30")).status_code == 200


def test_a_batch_is_read_without_a_place(full: Places, api: APIClient) -> None:
    body = json.dumps({"executions": [{"runtime": "python", "code": ""}]})
    location = api.post(f"{API}/batches", body, content_type="application/json")["Location"]
    assert at_once(lambda: api.get(f"{location}?wait=30")).status_code == 200


def test_run_without_a_place_is_429_in_ragflow_s_shape_and_stores_nothing(full: Places, api: APIClient) -> None:
    body = json.dumps({"code_b64": base64.b64encode(b"def main(): pass").decode()})
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = at_once(lambda: api.post("/run", body, content_type="application/json", headers=headers))
    assert (answer.status_code, answer["Retry-After"]) == (429, "1")
    assert (answer.json()["exit_code"], answer.json()["status"]) == (-429, "program_runner_error")
    assert not Execution.objects.exists()


def test_a_place_is_given_back_after_the_wait(
    client_row: Client, monkeypatch: pytest.MonkeyPatch, submit: Submit
) -> None:
    waits = Places(1, share=1)
    monkeypatch.setattr(places, "waits", waits)
    monkeypatch.setattr(waiting.connection, "close", lambda: None)
    began = time.monotonic()
    assert submit(wait=0.2).status_code == 202
    assert time.monotonic() - began >= 0.2
    assert waits.take(client_row.pk)
