"""One id from the request to the answer, the log and the execution."""

import json
import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.test import Client as Browser

from clients.models import Client
from executions import tasks
from executions.models import Execution, Status
from runtimes.models import Runtime
from sandbox_platform.kit import request_ids
from sandbox_platform.kit.request_ids import HEADER

pytestmark = pytest.mark.django_db
MakeExecution = Callable[..., Execution]


@pytest.fixture
def caller(client_with_token: tuple[Client, str], python_runtime: Runtime) -> Callable[..., Any]:
    def call(method: str, address: str, data: Any = None, **headers: str) -> Any:
        headers = {"Authorization": f"Bearer {client_with_token[1]}"} | headers
        content = {"data": json.dumps(data), "content_type": "application/json"} if data is not None else {}
        return getattr(Browser(), method)(address, headers=headers, **content)

    return call


@pytest.mark.parametrize(
    "own", ["7f3c", "4bf92f3577b34da6a3ce929d0e0e4736", "Root=1-67891233-abcdef012345678912345678"]
)
def test_the_callers_own_id_comes_back(own: str) -> None:
    assert Browser().get("/healthz", headers={HEADER: own})[HEADER] == own


@pytest.mark.parametrize("own", ["", "a b", "x" * 65, "a/b", 'a"b', "<script>", "\u00fc", "a;b"])
def test_an_id_that_is_not_well_formed_is_replaced(own: str) -> None:
    assert UUID(Browser().get("/healthz", headers={HEADER: own})[HEADER]).version == 7


def test_every_answer_has_one() -> None:
    seen = [
        Browser().get(address, headers={"Host": host})[HEADER]
        for address, host in (("/", "localhost"), ("/api/v1/none", "localhost"), ("/admin/", "evil.example"))
    ]
    assert len(set(seen)) == 3


def test_no_id_outlives_its_request() -> None:
    Browser().get("/healthz", headers={HEADER: "mine"})
    assert request_ids.current() == ""


def test_an_execution_keeps_the_id_of_its_request(caller: Callable[..., Any]) -> None:
    program = {"runtime": "python", "code": "def main(): return 1", "wait": 0}
    answer = caller("post", "/api/v1/executions", program, **{HEADER: "mine-1"})
    assert answer.status_code == 202, answer.content
    assert answer.json()["request_id"] == answer[HEADER] == "mine-1"
    assert Execution.objects.get().request_id == "mine-1"


def test_executions_of_a_request_are_found(
    caller: Callable[..., Any], client_with_token: Any, make_execution: MakeExecution
) -> None:
    mine = make_execution(request_id="mine-2", client=client_with_token[0])
    make_execution(client=client_with_token[0])
    make_execution(request_id="mine-2")  # somebody else's
    found = caller("get", "/api/v1/executions?request_id=mine-2").json()["results"]
    assert [row["id"] for row in found] == [str(mine.pk)]


def test_an_id_that_cannot_be_one_is_refused(caller: Callable[..., Any]) -> None:
    answer = caller("get", "/api/v1/executions?request_id=a%20b")
    assert (answer.status_code, answer.json()["field"]) == (422, "request_id")


@pytest.mark.parametrize("own", ["mine-3", "019323a9f3a87bd0b0a1d1a2a3a4a5a6"])
def test_the_consoles_search_finds_them(browser: Browser, make_execution: MakeExecution, own: str) -> None:
    mine = make_execution(request_id=own)
    other = make_execution(request_id="mine-4")
    page = browser.get("/admin/executions/execution/", {"q": own}).content.decode()
    assert str(mine.pk) in page
    assert str(other.pk) not in page


def test_the_page_of_an_execution_leads_to_the_others_of_its_request(
    browser: Browser, make_execution: MakeExecution
) -> None:
    one, two = [make_execution(request_id="a+b=c") for _ in range(2)]
    page = browser.get(f"/admin/executions/execution/{one.pk}/change/").content.decode()
    assert "?request_id=a%2Bb%3Dc" in page
    listed = browser.get("/admin/executions/execution/?request_id=a%2Bb%3Dc").content.decode()
    assert str(one.pk) in listed and str(two.pk) in listed


def test_a_workers_lines_have_the_id_of_the_execution(
    make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(tasks, "run", lambda execution: seen.append(request_ids.current()))
    tasks.run_execution(str(make_execution(status=Status.QUEUED, request_id="mine-5").pk))
    assert (seen, request_ids.current()) == (["mine-5"], "")


def test_a_request_is_one_line_without_what_the_caller_wrote(
    caller: Callable[..., Any], client_with_token: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "api.requests"):
        caller("get", "/api/v1/executions/01900000-0000-7000-8000-000000000000")
        caller("get", "/never/heard/of/it?secret=hunter2")
        caller("get", "/healthz")
    first, second = caplog.records
    assert first.getMessage() == "GET /api/v1/executions/<uuid:execution_id> 404"
    assert first.client_id == client_with_token[0].pk
    assert second.getMessage() == "GET / 404"
