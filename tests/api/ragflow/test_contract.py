"""RAGFlow's wire format, without Docker or database. What programs make of it: tests/api/ragflow."""

import base64
import json
import math
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from api.ragflow.contract import Malformed, RunRequest, parse_request
from api.ragflow.results import MalformedSerializer, render
from executions.models import Artifact, Execution, Outcome, Status
from runtimes.models import Runtime

JSON = "application/json"


def encoded(code: str | bytes) -> str:
    return base64.b64encode(code.encode() if isinstance(code, str) else code).decode()


def parse(content_type: str = JSON, **body: Any) -> RunRequest:
    return parse_request(json.dumps({"code_b64": encoded("x = 1")} | body).encode(), content_type)


def problem(body: Any, content_type: str = JSON) -> dict[str, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Malformed) as caught:
        parse_request(raw, content_type)
    (detail,) = MalformedSerializer.dump(caught.value)["detail"]
    return detail


# --- Requests --------------------------------------------------------------------------------------------


def test_parse_takes_the_program_as_text():
    assert parse(code_b64=encoded("print('ä')\r\n")).code == "print('ä')\r\n"


def test_parse_takes_an_empty_program():
    assert parse(code_b64="").code == ""


def test_parse_fills_in_language_and_arguments():
    assert parse() == RunRequest("x = 1", "python", "{}")


@pytest.mark.parametrize("arguments", [None, {}])
def test_parse_takes_no_arguments_for_an_empty_object(arguments: Any):
    assert parse(arguments=arguments).arguments == "{}"


def test_parse_keeps_arguments_as_json():
    arguments = {"a": [1, 2.5, None, "\ud800", "\x00"], "b": {"c": 2**70}}
    assert json.loads(parse(arguments=arguments).arguments) == arguments


def test_parse_keeps_nan_for_python():
    assert math.isnan(json.loads(parse(arguments={"a": math.nan}).arguments)["a"])


def test_parse_makes_nan_null_for_javascript():
    assert (
        parse(language="nodejs", arguments={"a": [math.nan, -math.inf, 1]}).arguments == '{"a": [null, null, 1]}'
    )


def test_parse_ignores_unknown_fields():
    assert parse(base_image="x", timeout=5) == parse()


@pytest.mark.parametrize(
    "content_type", [JSON, "APPLICATION/JSON", "application/json; charset=utf-8", "application/vnd.api+json"]
)
def test_parse_takes_json_media_types(content_type: str):
    assert parse(content_type).code == "x = 1"


@pytest.mark.parametrize("content_type", ["", "text/plain", "text/json", "multipart/form-data; boundary=x"])
def test_parse_refuses_other_media_types(content_type: str):
    assert problem({"code_b64": ""}, content_type)["loc"] == ["body"]


@pytest.mark.parametrize("value", ["x", "eA", "eA==\n", " eA==", "_-==", "é", "=", "eA=\x00="])
def test_parse_refuses_base64_that_is_not_strict(value: str):
    assert problem({"code_b64": value})["type"] == "value_error"


def test_parse_refuses_code_that_is_not_utf8():
    assert "UTF-8" in problem({"code_b64": encoded(b"\xff")})["msg"]


@pytest.mark.parametrize("value", [None, "", "Python", "javascript", "node", 1, True, ["python"], {"python": 1}])
def test_parse_refuses_other_languages(value: Any):
    assert problem({"code_b64": "", "language": value})["loc"] == ["body", "language"]


@pytest.mark.parametrize("value", [[], "", "{}", 0, False, 1.5])
def test_parse_refuses_arguments_that_are_no_object(value: Any):
    assert problem({"code_b64": "", "arguments": value})["loc"] == ["body", "arguments"]


@pytest.mark.parametrize("value", [[], "text", 1, None, True])
def test_parse_refuses_bodies_that_are_no_object(value: Any):
    assert problem(value)["loc"] == ["body"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000])
def test_parse_refuses_bodies_that_are_no_json(body: bytes):
    assert problem(body)["type"] == "json_invalid"


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": math.nan}, ["\ud800"]])
def test_malformed_echoes_only_what_an_answer_can_hold(value: Any):
    json.dumps(problem({"code_b64": "", "language": value}), allow_nan=False).encode()


# --- Answers ---------------------------------------------------------------------------------------------


def execution(status: Status, outcome: Outcome = Outcome.COMPLETED, **fields: Any) -> Execution:
    now = timezone.now()
    times = {"started_at": now, "ended_at": now + timedelta(milliseconds=250)}
    return Execution(runtime=Runtime(slug="python"), status=status, outcome=outcome, **times | fields)


def success(**fields: Any) -> dict[str, Any]:
    return render(execution(Status.SUCCEEDED, exit_code=0, **fields), [])


ENDS = [
    # status, outcome, fields, then: RAGFlow's status, exit code, detail, limit, error
    (Status.FAILED, Outcome.NONZERO_EXIT, {"exit_code": 3}, "program_error", 3, None, None, "nonzero_exit"),
    (Status.FAILED, Outcome.COMPILE_FAILED, {"exit_code": 1}, "program_error", 1, None, None, "nonzero_exit"),
    (Status.TIMED_OUT, Outcome.COMPILE_TIME, {}, "resource_limit_exceeded", -124, None, "time", None),
    (Status.FAILED, Outcome.SIGNALLED, {"exit_code": 139}, "program_error", 139, None, None, "nonzero_exit"),
    (Status.FAILED, Outcome.RESULT_INVALID, {"exit_code": 1}, "program_error", 1, None, None, "nonzero_exit"),
    (Status.TIMED_OUT, Outcome.WALL_TIME, {}, "resource_limit_exceeded", -124, None, "time", None),
    (Status.TIMED_OUT, Outcome.CPU_TIME, {}, "resource_limit_exceeded", -124, None, "time", None),
    (Status.OUT_OF_MEMORY, Outcome.MEMORY, {}, "resource_limit_exceeded", -137, None, "memory", None),
    (Status.OUTPUT_LIMIT, Outcome.STDOUT, {}, "resource_limit_exceeded", -153, None, "output", None),
    (Status.OUTPUT_LIMIT, Outcome.STDERR, {}, "resource_limit_exceeded", -153, None, "output", None),
    (Status.REJECTED, Outcome.CODE_POLICY, {}, "program_runner_error", -999, "Code is unsafe", None, None),
    (Status.REJECTED, Outcome.RUNTIME_DISABLED, {}, "program_runner_error", -999, "runtime_disabled", None, None),
    (Status.CANCELLED, Outcome.QUEUE_TIMEOUT, {}, "program_runner_error", -10, "no_available_container", None, None),  # noqa: E501
    (Status.CANCELLED, Outcome.CALLER_GONE, {}, "program_runner_error", -10, "cancelled", None, None),
    (Status.CANCELLED, Outcome.CANCEL_REQUESTED, {}, "program_runner_error", -10, "cancelled", None, None),
    (Status.PLATFORM_ERROR, Outcome.START_FAILED, {}, "program_runner_error", -3, "internal_error", None, None),
    (Status.PLATFORM_ERROR, Outcome.SANDBOX_LOST, {}, "program_runner_error", -3, "internal_error", None, None),
    (Status.PLATFORM_ERROR, Outcome.WORKER_LOST, {}, "program_runner_error", -3, "internal_error", None, None),
    (Status.PLATFORM_ERROR, Outcome.INTERNAL, {}, "program_runner_error", -3, "internal_error", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("status", "outcome", "fields", "name", "exit_code", "detail", "limit", "error"), ENDS)
def test_render_end(status, outcome, fields, name, exit_code, detail, limit, error):
    answer = render(execution(status, outcome, message="Why.", **fields), [])
    assert (answer["status"], answer["exit_code"], answer["detail"]) == (name, exit_code, detail)
    assert (answer["resource_limit_type"], answer["runtime_error_type"]) == (limit, error)


def test_render_is_tested_for_every_outcome():
    assert {outcome for _, outcome, *_ in ENDS} == set(Outcome) - {Outcome.COMPLETED}


@pytest.mark.parametrize(("status", "outcome", "fields"), [end[:3] for end in ENDS])
def test_render_failure_has_no_output_and_says_why(status, outcome, fields):
    """RAGFlow's tool takes output for a result, and an empty stderr for an empty success."""
    answer = render(execution(status, outcome, message="Why.", stdout="seen", **fields), [])
    assert (answer["stdout"], answer["artifacts"], answer["result"]) == ("", [], None)
    assert "Why." in answer["stderr"]


@pytest.mark.parametrize("blank", ["", "\n", "  \n"])
def test_render_blank_stderr_of_a_failure_is_replaced(blank: str):
    answer = render(
        execution(Status.FAILED, Outcome.NONZERO_EXIT, message="Exited.", stderr=blank, exit_code=1), []
    )
    assert answer["stderr"] == "Exited."


def test_render_traceback_of_a_failure_is_left_alone():
    answer = render(
        execution(Status.FAILED, Outcome.NONZERO_EXIT, message="Exited.", stderr="Boom\n", exit_code=1), []
    )
    assert answer["stderr"] == "Boom\n"


def test_render_adds_the_reason_to_what_a_killed_program_wrote():
    answer = render(execution(Status.OUT_OF_MEMORY, Outcome.MEMORY, message="Memory.", stderr="warning\n"), [])
    assert answer["stderr"] == "warning\nMemory."


@pytest.mark.parametrize(
    ("result", "value"),
    [("null", None), ('{"a":[1,"\\ud800"]}', {"a": [1, "\ud800"]}), ("0", 0), ('""', ""), ("false", False)],
)
def test_render_result(result: str, value: Any):
    assert success(result=result)["result"] == {"present": True, "value": value, "type": "json"}


def test_render_success_without_a_result():
    assert success(result=None)["result"] is None


def test_render_success_keeps_stderr():
    assert success(stderr=" careful\n")["stderr"] == " careful\n"


MARKER = "__RAGFLOW_RESULT__:"


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("", ""),
        ("a\n", "a\n"),
        ("a\n\n", "a\n\n"),
        ("a\r\nb", "a\r\nb"),
        ("a\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029b", "a\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029b"),
        (f"{MARKER}abc\n", ""),
        (f"a\n{MARKER}abc\nb\n", "a\nb\n"),
        (f"a\n{MARKER}\n{MARKER}x", "a\n"),
        (f"see {MARKER}abc", f"see {MARKER}abc"),
        (f"a\u2028{MARKER}abc", "a\u2028"),  # RAGFlow's clients split lines as Python does
    ],
)
def test_render_stdout(written: str, sent: str):
    assert success(stdout=written)["stdout"] == sent


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.png", "image/png"),
        ("a.JPG", "image/jpeg"),
        ("a.jpeg", "image/jpeg"),
        ("a.svg", "image/svg+xml"),
        ("a.pdf", "application/pdf"),
        ("a.b.csv", "text/csv"),
        ("a.json", "application/json"),
        ("a.html", "text/html"),
    ],
)
def test_render_artifact(name: str, kind: str):
    answer = render(execution(Status.SUCCEEDED, exit_code=0), [Artifact(name=name, content=b"\x00\xff", size=2)])
    assert answer["artifacts"] == [{"name": name, "mime_type": kind, "size": 2, "content_b64": "AP8="}]


@pytest.mark.parametrize(("bytes_", "kilobytes"), [(None, None), (0, None), (1024, 1), (50_000_000, 48828)])
def test_render_memory(bytes_: int | None, kilobytes: int | None):
    assert success(peak_memory_bytes=bytes_)["memory_used_kb"] == kilobytes


@pytest.mark.parametrize(
    ("status", "outcome", "milliseconds"),
    [
        (Status.SUCCEEDED, Outcome.COMPLETED, 250),
        (Status.TIMED_OUT, Outcome.WALL_TIME, 250),
        (Status.FAILED, Outcome.NONZERO_EXIT, None),
        (Status.OUT_OF_MEMORY, Outcome.MEMORY, None),
    ],
)
def test_render_time(status: Status, outcome: Outcome, milliseconds: float | None):
    assert render(execution(status, outcome), [])["time_used_ms"] == milliseconds


def test_render_time_of_an_execution_that_never_started():
    assert success(started_at=None)["time_used_ms"] is None


def test_render_refusal_names_the_runtime_to_edit():
    answer = render(execution(Status.REJECTED, Outcome.CODE_POLICY, message="Line 1: Call: eval"), [])
    assert answer["stderr"].splitlines()[0] == "Line 1: Call: eval"
    assert "Runtimes, python" in answer["stderr"]
