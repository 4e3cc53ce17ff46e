"""What all formats have in common: who may call, and refusals in the format's own shape."""

import json
from base64 import b64encode
from typing import Any

import pytest

from api.compatible.base import _named
from clients.models import Client, Role
from executions.models import Execution
from metrics import requests
from sandbox_platform.kit import formats
from sandbox_platform.kit.formats import FORMATS, Format, Refusal
from sandbox_platform.kit.web import refusals
from tests.api.compatible.conftest import Caller
from tests.conftest import TOKEN
from usage import refusals as counting
from usage.models import Refusal as Counted

pytestmark = pytest.mark.django_db
RUNTIMES = "/api/v2/runtimes"
EXECUTE = "/api/v2/execute"
PROGRAM = {"language": "python", "version": "*", "files": [{"content": "print(1)"}]}


def message(answer: Any) -> str:
    return str(answer.json()["message"])


def test_format_is_off_at_first(caller: Caller) -> None:
    token = Client.objects.create_with_token("new")[1]
    answer = Caller(Authorization=f"Bearer {token}").get(RUNTIMES)
    assert answer.status_code == 403
    assert message(answer).startswith("The format Piston is off for the client new.")


def test_missing_token_is_refused_in_the_format(caller: Caller) -> None:
    answer = Caller().get(RUNTIMES)
    assert (answer.status_code, message(answer)) == (401, "The API token is missing or wrong.")


def test_wrong_token_is_refused(caller: Caller, nothing_runs: None) -> None:
    assert Caller(Authorization="Bearer wrong").post(EXECUTE, PROGRAM).status_code == 401


def test_token_may_be_the_password_in_the_address(caller: Caller) -> None:
    basic = b64encode(f"x:{TOKEN}".encode()).decode()
    assert Caller(Authorization=f"Basic {basic}").get(RUNTIMES).status_code == 200


def test_callers_without_a_token_are_refused_where_others_need_none(caller: Caller, settings: Any) -> None:
    settings.RAGFLOW_ALLOW_UNAUTHENTICATED = True
    answer = Caller().get(RUNTIMES)
    assert (answer.status_code, message(answer)) == (
        403,
        "The format Piston is only for clients with a token. Send one.",
    )


def test_auditor_reads_and_does_not_run(client_row: Client, nothing_runs: None) -> None:
    token = Client.objects.create_with_token("auditor", role=Role.AUDITOR, formats=client_row.formats)[1]
    auditor = Caller(Authorization=f"Bearer {token}")
    assert auditor.get(RUNTIMES).status_code == 200
    assert auditor.post(EXECUTE, PROGRAM).status_code == 403
    assert not Execution.objects.exists()


@pytest.mark.parametrize("token", [TOKEN, "wrong"])
def test_page_of_another_site_is_refused(caller: Caller, nothing_runs: None, token: str) -> None:
    answer = Caller(Authorization=f"Bearer {token}", Origin="https://evil.example").post(EXECUTE, PROGRAM)
    assert answer.status_code == (403 if token == TOKEN else 401)


def test_limit_is_refused_in_the_format(caller: Caller, nothing_runs: None) -> None:
    answer = caller.post(EXECUTE, PROGRAM)
    assert (answer.status_code, answer["Retry-After"], message(answer)) == (429, "7", "Enough.")


def test_refusals_are_counted(caller: Caller) -> None:
    Caller().get(RUNTIMES)
    counting.flush()
    assert Counted.objects.filter(kind="token").exists()


def test_unknown_address_is_refused_in_the_format(caller: Caller) -> None:
    answer = caller.get("/api/v2/nothing")
    assert (answer.status_code, list(answer.json())) == (404, ["message"])


def test_method_that_an_address_lacks_is_refused_in_the_format(caller: Caller) -> None:
    answer = caller.get(EXECUTE)
    assert (answer.status_code, list(answer.json())) == (405, ["message"])


@pytest.mark.parametrize("path", [EXECUTE, "/languages", "/v1/sandbox/run", "/run_code", "/exec"])
def test_token_comes_before_the_method(caller: Caller, path: str) -> None:
    for stranger in (Caller(), Caller(Authorization="Bearer wrong")):
        assert stranger.http.delete(path).status_code == 401


def test_other_media_types_are_refused(caller: Caller) -> None:
    answer = caller.http.post(EXECUTE, json.dumps(PROGRAM), content_type="text/plain")
    assert answer.status_code == 415


def test_failure_is_said_in_the_format(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("api.compatible.piston.usable", fail)
    caller.http.raise_request_exception = False
    answer = caller.get(RUNTIMES)
    assert (answer.status_code, message(answer)) == (
        500,
        "The service failed to answer. Its log has the reason.",
    )


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
def test_web_server_refuses_in_the_format(format: Format) -> None:
    head, _, body = refusals.answer(429, "Busy.", format.addresses[0].encode()).partition(b"\r\n\r\n")
    status, expected = format.render(Refusal(429, "Busy.", retry_after_s=2))
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Retry-After: 2" in head
    assert json.loads(body) == expected


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
def test_requests_are_counted_by_format(format: Format) -> None:
    requests._counts.clear()
    requests.count(f"{format.addresses[0]}/x", 200, 0.1)
    assert [key[0] for key in requests._counts] == [format.name]
    requests._counts.clear()


def test_address_belongs_to_its_format_alone() -> None:
    assert formats.at("/api/v2/execute") is formats.PISTON
    assert formats.at("/api/v20") is None
    assert formats.at("/run") is None


def test_no_format_has_the_address_of_another_door() -> None:
    for address in (address for format in FORMATS for address in format.addresses):
        assert not address.startswith(("/api/v1", "/admin", "/mcp", "/static", "/metrics", "/healthz", "/readyz"))
        assert address != "/run"


def test_field_is_named_as_the_format_has_it() -> None:
    theirs = {"limits.wall_time_ms": "run_timeout", "argv": "args"}
    assert _named("limits.wall_time_ms", theirs) == "run_timeout"
    assert _named("argv[3]", theirs) == "args[3]"
    assert _named("argvs", theirs) == "argvs"
