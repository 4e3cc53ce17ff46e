"""Dify's addresses."""

from typing import Any

import pytest
from django.utils import timezone

from clients.models import Client, Role
from executions.models import Execution, Outcome, Status
from executions.verdict import Verdict
from inspections.models import Inspection, InspectionKind, InspectionState
from runtimes.models import Network, Runtime
from tests.api.compatible.conftest import Caller, ending, spoilt
from tests.conftest import TOKEN

pytestmark = pytest.mark.django_db(transaction=True)
RUN, DEPENDENCIES = "/v1/sandbox/run", "/v1/sandbox/dependencies"
WHOLE: dict[str, Any] = {
    "language": "python3",
    "code": "print(1)",
    "preload": "import sys",
    "enable_network": True,
}


@pytest.fixture
def dify(client_row: Client) -> Caller:
    return Caller(X_Api_Key=TOKEN)


def run(dify: Caller, **changed: Any) -> Any:
    return dify.post(RUN, {"language": "python3", "code": "print(1)"} | changed)


def refused(answer: Any, code: int, status: int = 200) -> str:
    assert (answer.status_code, answer.json()["code"], answer.json()["data"]) == (status, code, None)
    return str(answer.json()["message"])


def test_program_runs_and_its_output_is_answered(dify: Caller) -> None:
    with ending(stdout="1\n", stderr="warned\n"):
        answer = dify.post(RUN, WHOLE)
    assert answer.status_code == 200
    assert answer.json() == {
        "code": 0,
        "message": "success",
        "data": {"stdout": "1\n", "error": "", "stderr": "warned\n", "exit_code": 0},
    }


def test_what_was_asked_for_is_in_the_history(dify: Caller, client_row: Client) -> None:
    with ending():
        dify.post(RUN, WHOLE)
    row = Execution.objects.get()
    assert (row.client, row.endpoint, row.mode) == (client_row, "dify", "script")
    assert row.code == "import sys\nprint(1)"


def test_asking_for_a_network_gives_none(dify: Caller) -> None:
    with ending():
        dify.post(RUN, WHOLE)
    assert Execution.objects.get().network == Network.NONE


def test_without_preload_lines_keep_their_numbers(dify: Caller) -> None:
    with ending():
        run(dify, preload="")
    assert Execution.objects.get().code == "print(1)"


@pytest.mark.parametrize(
    ("verdict", "stderr", "error"),
    [
        (Verdict(Status.FAILED, Outcome.NONZERO_EXIT, "Non-zero exit.", exit_code=1), "a\n", "a\nNon-zero exit."),
        (Verdict(Status.TIMED_OUT, Outcome.WALL_TIME, "Too long."), "", "Too long."),
        (Verdict(Status.FAILED, Outcome.NONZERO_EXIT, exit_code=1), "", "The program failed."),
    ],
)
def test_failure_of_a_program_is_never_without_an_error(
    dify: Caller, verdict: Verdict, stderr: str, error: str
) -> None:
    with ending(verdict, stderr=stderr, stdout="so far"):
        answer = run(dify)
    assert (answer.json()["code"], answer.json()["data"]["error"]) == (0, error)


def test_refusals_have_the_status_of_which_dify_shows_the_message(dify: Caller, client_row: Client) -> None:
    assert refused(run(dify, language="cobol"), -400) == "language: unsupported language"
    assert refused(run(dify, code=""), -400) == "code: is required as a text"
    Client.objects.filter(pk=client_row.pk).update(formats=[])
    assert refused(run(dify), -403).startswith("The format Dify is off for the client ragflow.")


def test_limit_is_what_dify_takes_for_busy(dify: Caller, nothing_runs: None) -> None:
    answer = run(dify)
    assert refused(answer, -503, status=503) == "Enough."
    assert answer["Retry-After"] == "7"


def test_wrong_token_is_refused(client_row: Client) -> None:
    assert refused(run(Caller(X_Api_Key="wrong")), -401, status=401)
    assert refused(Caller().get(f"{DEPENDENCIES}?language=python3"), -401, status=401)


@pytest.mark.parametrize("path", [RUN, DEPENDENCIES])
def test_method_that_there_is_not_is_told_before_the_role(dify: Caller, client_row: Client, path: str) -> None:
    Client.objects.filter(pk=client_row.pk).update(role=Role.AUDITOR)
    assert refused(dify.http.generic("TRACE", path), -405, status=405)


def test_fault_of_the_platform_is_no_result(dify: Caller) -> None:
    with ending(Verdict(Status.PLATFORM_ERROR, Outcome.INTERNAL, "m")):
        answer = run(dify)
    assert refused(answer, -500, status=500) == "The platform failed, not the program: m"


def test_packages_are_those_of_the_newest_description(dify: Caller, python_runtime: Runtime) -> None:
    listed = f"{DEPENDENCIES}?language=python3"
    assert dify.get(listed).json()["data"] == {"dependencies": []}
    Inspection.objects.create(
        kind=InspectionKind.DESCRIBE,
        runtime=python_runtime,
        state=InspectionState.DONE,
        finished_at=timezone.now(),
        details={"facts": {"packages": {"pip": [["numpy", "2.1"], ["odd"]]}}},
    )
    packages = [{"name": "numpy", "version": "2.1"}, {"name": "odd", "version": ""}]
    assert dify.get(listed).json() == {"code": 0, "message": "success", "data": {"dependencies": packages}}


@pytest.mark.parametrize("query", ["", "?language=", "?language=%00", "?language=cobol"])
def test_packages_of_an_unknown_language_are_refused(dify: Caller, query: str) -> None:
    assert refused(dify.get(f"{DEPENDENCIES}{query}"), -400)


def test_clients_install_nothing(dify: Caller) -> None:
    assert refused(dify.post(f"{DEPENDENCIES}/update", {"language": "python3"}), -403)


def test_health_needs_no_token(client_row: Client) -> None:
    answer = Caller().get("/health")
    assert (answer.status_code, answer.json()) == (200, "ok")
    assert refused(Caller().post("/health", {}), -405, status=405)


def test_no_body_is_a_fault_of_the_service(dify: Caller, nothing_runs: None) -> None:
    for body in spoilt(WHOLE):
        answer = dify.post(RUN, body)
        assert answer.status_code in (200, 503), (body[:200], answer.content)
        assert answer.json()["code"] < 0
