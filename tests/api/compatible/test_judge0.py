"""Judge0's addresses."""

import base64
import itertools
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from clients.models import Client, Role
from executions import services
from executions.models import Execution, Outcome, Status
from executions.verdict import Verdict
from runtimes.models import MIB, CodePolicy, Runtime
from tests.api.compatible.conftest import DONE, Caller, ending, spoilt
from tests.api.compatible.judge0 import PYTHON, SUBMISSIONS, submit
from tests.conftest import TOKEN

pytestmark = pytest.mark.django_db(transaction=True)
BATCH = "/submissions/batch"
WHOLE: dict[str, Any] = {
    "source_code": "print(input())",
    "language_id": PYTHON,
    "stdin": "in",
    "expected_output": "in",
    "command_line_arguments": "-v 'two words'",
    "cpu_time_limit": 2,
    "wall_time_limit": "3.5",
    "memory_limit": 128_000,
    "number_of_runs": 1,
    "enable_network": False,
    "compiler_options": None,
}
Mine = Callable[..., Execution]


@pytest.fixture
def mine(make_execution: Mine, client_row: Client) -> Mine:
    def mine(**overrides: Any) -> Execution:
        return make_execution(**{"client": client_row, "endpoint": "judge0"} | overrides)

    return mine


def refused(answer: Any, status: int = 422) -> Any:
    assert answer.status_code == status, answer.content
    return answer.json()


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_submission_gets_a_token_with_which_it_is_read(judge: Caller) -> None:
    answer = submit(judge)
    assert (answer.status_code, list(answer.json())) == (201, ["token"])
    shown = judge.get(f"{SUBMISSIONS}/{answer.json()['token']}").json()
    assert shown["status"] == {"id": 1, "description": "In Queue"}
    assert list(shown) == ["stdout", "time", "memory", "stderr", "token", "compile_output", "message", "status"]


def test_what_was_asked_for_is_in_the_history(judge: Caller, client_row: Client) -> None:
    judge.post(SUBMISSIONS, WHOLE)
    row = Execution.objects.get()
    assert (row.client, row.endpoint, row.mode, row.announce_start) == (client_row, "judge0", "script", True)
    assert (row.code, row.stdin, row.argv) == ("print(input())", "in", ["-v", "two words"])
    limits = [row.limits[name] for name in ("cpu_time_ms", "wall_time_ms", "memory_bytes")]
    assert limits == [2000, 3500, 128_000 * 1024]


def test_waiting_answers_with_the_result(judge: Caller) -> None:
    with ending(stdout="1\n", cpu_ms=12, peak_memory_bytes=9 * MIB):
        answer = submit(judge, "?wait=true")
    assert answer.status_code == 201
    shown = answer.json()
    assert (shown["stdout"], shown["stderr"], shown["time"], shown["memory"]) == ("1\n", None, "0.012", 9216)
    assert shown["status"] == {"id": 3, "description": "Accepted"}
    assert answer["X-Execution-Id"] == shown["token"]


@pytest.mark.parametrize(
    ("expected", "stdout", "status"),
    [("1", "1\n", 3), ("1  \n2\n\n", "1\n2", 3), ("1", "2\n", 4), ("1", "", 4), ("", "", 3), (None, "x", 3)],
)
def test_output_is_compared_with_the_expected(
    judge: Caller, expected: str | None, stdout: str, status: int
) -> None:
    with ending(stdout=stdout):
        answer = submit(judge, "?wait=true", expected_output=expected)
    assert answer.json()["status"]["id"] == status


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (Verdict(Status.FAILED, Outcome.NONZERO_EXIT, exit_code=3), 11),
        (Verdict(Status.FAILED, Outcome.SIGNALLED, exit_code=139, signal=11), 7),
        (Verdict(Status.FAILED, Outcome.SIGNALLED, exit_code=134, signal=6), 10),
        (Verdict(Status.FAILED, Outcome.SIGNALLED, exit_code=136, signal=8), 9),
        (Verdict(Status.FAILED, Outcome.SIGNALLED, exit_code=137, signal=9), 12),
        (Verdict(Status.TIMED_OUT, Outcome.WALL_TIME), 5),
        (Verdict(Status.TIMED_OUT, Outcome.COMPILE_TIME), 6),
        (Verdict(Status.OUT_OF_MEMORY, Outcome.MEMORY), 12),
        (Verdict(Status.OUTPUT_LIMIT, Outcome.STDOUT), 8),
    ],
)
def test_end_has_judge0s_status(judge: Caller, verdict: Verdict, status: int) -> None:
    with ending(verdict):
        assert submit(judge, "?wait=true").json()["status"]["id"] == status


def test_limit_ends_a_program_by_a_signal(judge: Caller) -> None:
    with ending(Verdict(Status.OUT_OF_MEMORY, Outcome.MEMORY)):
        answer = submit(judge, "?wait=true&fields=exit_code,exit_signal")
    assert answer.json() == {"exit_code": None, "exit_signal": 9}


def test_compilers_output_is_apart(judge: Caller, c_runtime: Runtime) -> None:
    verdict = Verdict(Status.FAILED, Outcome.COMPILE_FAILED, "m", exit_code=1)
    with ending(verdict, stderr="main.c:1: error"):
        shown = submit(judge, "?wait=true", language_id=50).json()
    assert (shown["compile_output"], shown["stderr"], shown["message"]) == ("main.c:1: error", None, "m")


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (Verdict(Status.PLATFORM_ERROR, Outcome.INTERNAL, "m"), 500),
        (Verdict(Status.CANCELLED, Outcome.QUEUE_TIMEOUT, "m"), 503),
        (Verdict(Status.CANCELLED, Outcome.CANCEL_REQUESTED, "m"), 409),
    ],
)
def test_run_that_did_not_come_about_is_an_error_to_whom_waits(
    judge: Caller, verdict: Verdict, status: int
) -> None:
    with ending(verdict):
        assert list(refused(submit(judge, "?wait=true"), status)) == ["error"]


def test_run_that_did_not_come_about_has_a_status_later(judge: Caller, mine: Mine) -> None:
    pk = mine(status=Status.PLATFORM_ERROR, outcome=Outcome.INTERNAL).pk
    assert judge.get(f"{SUBMISSIONS}/{pk}").json()["status"]["id"] == 13


def test_texts_are_in_base64_both_ways(judge: Caller) -> None:
    with ending(stdout="ä\n"):
        answer = submit(
            judge,
            "?wait=true&base64_encoded=true&fields=stdout,source_code,stdin,status",
            source_code=b64("print('ä')"),
            stdin=b64("in"),
            expected_output=b64("ä"),
        )
    assert answer.json() == {
        "stdout": b64("ä\n"),
        "source_code": b64("print('ä')"),
        "stdin": b64("in"),
        "status": {"id": 3, "description": "Accepted"},
    }
    assert Execution.objects.get().code == "print('ä')"


def test_base64_may_have_line_breaks_and_no_padding(judge: Caller) -> None:
    encoded = b64("print(12345)").rstrip("=")
    submit(judge, "?base64_encoded=true", source_code=f"{encoded[:4]}\n{encoded[4:]}\n")
    assert Execution.objects.get().code == "print(12345)"


def test_all_fields_are_those_that_can_be_asked_for(judge: Caller, mine: Mine) -> None:
    shown = judge.get(f"{SUBMISSIONS}/{mine().pk}?fields=*").json()
    assert (shown["language"], shown["language_id"]) == ({"id": 113, "name": "Python 3.13"}, 113)
    assert shown["finished_at"].endswith("Z")
    assert shown["expected_output"] is None


def test_unknown_field_is_refused(judge: Caller, mine: Mine) -> None:
    answer = judge.get(f"{SUBMISSIONS}/{mine().pk}?fields=stdout,nothing")
    assert refused(answer, 400) == {"error": "invalid fields: [nothing]"}


@pytest.mark.parametrize(
    ("changed", "field", "text"),
    [
        ({"source_code": ""}, "source_code", "can't be blank"),
        ({"source_code": 1}, "source_code", "is not a text"),
        ({"language_id": None}, "language_id", "can't be blank"),
        ({"language_id": 1}, "language_id", "language with id 1 doesn't exist"),
        ({"language_id": 50}, "language_id", "language with id 50 doesn't exist"),
        ({"language_id": "x"}, "language_id", "is not a number"),
        ({"cpu_time_limit": 0}, "cpu_time_limit", "must be greater than 0"),
        ({"cpu_time_limit": "1s"}, "cpu_time_limit", "is not a number"),
        (
            {"cpu_time_limit": 11},
            "cpu_time_limit",
            "cpu_time_limit is above the limit of the runtime python, which is 10 s.",
        ),
        ({"memory_limit": 2048}, "memory_limit", "must be greater than or equal to 65536"),
        ({"enable_network": True}, "enable_network", "this option cannot be enabled"),
        ({"redirect_stderr_to_stdout": True}, "redirect_stderr_to_stdout", "this option cannot be enabled"),
        ({"compiler_options": "-O3"}, "compiler_options", "setting compiler options is not allowed"),
        ({"additional_files": "UEs="}, "additional_files", "additional files are not allowed"),
        ({"number_of_runs": 2}, "number_of_runs", "must be less than or equal to 1"),
        ({"command_line_arguments": "'"}, "command_line_arguments", "no closing quotation"),
        (
            {"command_line_arguments": "x" * 32_769},
            "command_line_arguments",
            "is too long (maximum is 32768 characters)",
        ),
    ],
)
def test_invalid_field_is_named(judge: Caller, changed: dict[str, Any], field: str, text: str) -> None:
    assert refused(submit(judge, **changed)) == {field: [text]}
    assert not Execution.objects.exists()


def test_callback_is_refused_with_the_remedy(judge: Caller) -> None:
    said = refused(submit(judge, callback_url="https://judge.example/done"))
    assert said == {"callback_url": ["callbacks are not allowed: GET the submission, or wait"]}


def test_program_against_the_code_policy_is_refused(judge: Caller, python_runtime: Runtime) -> None:
    Runtime.objects.update(code_policy=CodePolicy.BLOCK)
    assert "source_code" in refused(submit(judge, source_code="import os\nos.system('x')"))


def test_names_of_fields_do_not_change_what_a_program_is_refused_for(judge: Caller) -> None:
    Runtime.objects.update(code_policy=CodePolicy.BLOCK)
    (text,) = refused(submit(judge, source_code="path = 'C:\\Users'"))["source_code"]
    assert "'unicodeescape' codec" in text


def test_submission_of_another_client_is_unknown(judge: Caller, stranger: Caller, mine: Mine) -> None:
    pk = mine().pk
    for path in (f"{SUBMISSIONS}/{pk}", f"{SUBMISSIONS}/{uuid.uuid4()}", f"{SUBMISSIONS}/x"):
        assert list(refused(stranger.get(path), 404)) == ["error"]
    assert stranger.get(f"{BATCH}?tokens={pk}").json() == {"submissions": [None]}


def test_auditor_reads_others_runs_elsewhere(judge: Caller, mine: Mine, client_row: Client) -> None:
    token = Client.objects.create_with_token("auditor", role=Role.AUDITOR, formats=client_row.formats)[1]
    assert Caller(X_Auth_Token=token).get(f"{SUBMISSIONS}/{mine().pk}").status_code == 404


def test_run_of_another_endpoint_is_no_submission(judge: Caller, mine: Mine) -> None:
    assert judge.get(f"{SUBMISSIONS}/{mine(endpoint='api').pk}").status_code == 404


def test_batch_is_accepted_one_by_one(judge: Caller) -> None:
    good, bad = {"source_code": "1", "language_id": PYTHON}, {"source_code": "1", "language_id": 1}
    answer = judge.post(BATCH, {"submissions": [good, bad, None]})
    first, *others = answer.json()
    assert (answer.status_code, list(first)) == (201, ["token"])
    assert others == [
        {"language_id": ["language with id 1 doesn't exist"]},
        {"source_code": ["can't be blank"]},
    ]
    assert Execution.objects.count() == 1


def test_batch_of_which_nothing_is_accepted_is_refused(judge: Caller) -> None:
    assert refused(judge.post(BATCH, {"submissions": [{}]})) == [{"language_id": ["can't be blank"]}]


def test_used_up_quota_is_told_of_each(judge: Caller, client_row: Client) -> None:
    Client.objects.filter(pk=client_row.pk).update(max_runs_per_minute=1)
    one = {"source_code": "1", "language_id": PYTHON}
    first, second = judge.post(BATCH, {"submissions": [one, one]}).json()
    assert (list(first), list(second)) == (["token"], ["error"])
    assert refused(judge.post(BATCH, {"submissions": [one]}), 429)["error"]


def failing_at(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
    """Have the submissions with these numbers, counted from 0, fail in the service."""
    submit, calls = services.submit, itertools.count()

    def submitted(*args: Any, **options: Any) -> Execution:
        if next(calls) in numbers:
            raise RuntimeError("secret")
        return submit(*args, **options)

    monkeypatch.setattr(services, "submit", submitted)


def test_fault_at_one_of_a_batch_leaves_the_others_their_tokens(
    judge: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_at(monkeypatch, 1)
    answer = judge.post(BATCH, {"submissions": [{"source_code": "1", "language_id": PYTHON}] * 3})
    assert answer.status_code == 201
    assert [list(one) for one in answer.json()] == [["token"], ["error"], ["token"]]
    assert "secret" not in answer.content.decode()


def test_fault_before_a_token_was_given_is_one_of_the_batch(
    judge: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_at(monkeypatch, 0)
    bad, good = {"source_code": "1", "language_id": 1}, {"source_code": "1", "language_id": PYTHON}
    with pytest.raises(RuntimeError):
        judge.post(BATCH, {"submissions": [bad, good, good]})
    assert not Execution.objects.exists()


def test_tokens_may_be_in_a_header(judge: Caller, mine: Mine) -> None:
    pk = str(mine().pk)
    assert judge.get(f"{BATCH}?fields=token", headers={"tokens": pk}).json() == {"submissions": [{"token": pk}]}


@pytest.mark.parametrize("count", [0, 21])
def test_batch_has_one_to_twenty(judge: Caller, count: int) -> None:
    assert list(refused(judge.post(BATCH, {"submissions": [{}] * count}), 400)) == ["error"]
    tokens = ",".join(["x"] * count)
    assert list(refused(judge.get(f"{BATCH}?tokens={tokens}"), 400)) == ["error"]


def test_batch_is_read_in_order(judge: Caller, mine: Mine) -> None:
    first, second = mine(stdout="1").pk, mine(stdout="2").pk
    shown = judge.get(f"{BATCH}?tokens={second},x,{first}&fields=stdout").json()
    assert shown == {"submissions": [{"stdout": "2"}, None, {"stdout": "1"}]}


def test_batch_that_is_too_large_is_refused(judge: Caller, mine: Mine, settings: Any) -> None:
    settings.SANDBOX_MAX_PAGE_BYTES = 10
    tokens = ",".join(str(mine(stdout="x" * 8).pk) for _ in range(2))
    assert "too large together" in refused(judge.get(f"{BATCH}?tokens={tokens}"), 400)["error"]
    assert judge.get(f"{BATCH}?tokens={tokens}&fields=token").status_code == 200


def test_languages_are_those_of_the_runtimes(judge: Caller, c_runtime: Runtime) -> None:
    listed = judge.get("/languages").json()
    assert {"id": 71, "name": "Python 3.13"} in listed
    assert [one["id"] for one in listed] == [48, 49, 50, 71, 92, 100, 103, 109, 113]
    assert judge.get("/languages/all").json() == [one | {"is_archived": False} for one in listed]
    assert judge.get("/languages/50").json()["compile_cmd"] == "gcc -o {program} {source}"
    assert judge.get("/languages/51").status_code == 404


def test_runtime_that_judge0_lacks_has_a_number_of_ours(judge: Caller, python_runtime: Runtime) -> None:
    Runtime.objects.filter(pk=python_runtime.pk).update(slug="snake")
    number = 1000 + python_runtime.pk
    assert judge.get("/languages").json() == [{"id": number, "name": "Python 3.13"}]
    assert submit(judge, language_id=number).status_code == 201


def test_what_official_clients_ask_first(judge: Caller) -> None:
    assert judge.get("/about").json()["version"] == "1.14.0"
    configuration = judge.get("/config_info").json()
    assert (configuration["max_submission_batch_size"], configuration["max_cpu_time_limit"]) == (20, 10.0)
    assert configuration["disable_implicit_base64_encoding"] is True
    assert judge.get("/statuses").json()[2] == {"id": 3, "description": "Accepted"}


@pytest.mark.parametrize("header", ["X_Auth_Token", "X_RapidAPI_Key", "X_Sandbox_Token"])
def test_token_comes_in_judge0s_headers(client_row: Client, header: str) -> None:
    assert Caller(**{header: TOKEN}).get("/about").status_code == 200
    assert Caller(**{header: "wrong"}).get("/about").status_code == 401


def test_result_is_read_later(judge: Caller) -> None:
    token = submit(judge).json()["token"]
    with ending(DONE, stdout="1"):
        assert judge.get(f"{SUBMISSIONS}/{token}").status_code == 200
    assert judge.get(f"{SUBMISSIONS}/{token}").json()["stdout"] == "1"


@pytest.mark.parametrize("query", ["", "?wait=true", "?base64_encoded=true"])
def test_no_body_is_a_fault_of_the_service(judge: Caller, nothing_runs: None, query: str) -> None:
    for body in spoilt(WHOLE):
        answer = judge.post(f"{SUBMISSIONS}{query}", body)
        assert answer.status_code < 500, (body[:200], answer.content)


def test_no_batch_is_a_fault_of_the_service(judge: Caller, nothing_runs: None) -> None:
    for body in spoilt({"submissions": [WHOLE]}):
        answer = judge.post(BATCH, body)
        assert answer.status_code < 500, (body[:200], answer.content)


@pytest.mark.parametrize("text", ["%00", "%ed%a0%80", "*,*", "," * 3000, "a" * 6000])
def test_no_query_is_a_fault_of_the_service(judge: Caller, text: str) -> None:
    for path in (f"{SUBMISSIONS}/{text}", f"{BATCH}?tokens={text}", f"{BATCH}?tokens=x&fields={text}"):
        assert judge.get(path).status_code < 500
