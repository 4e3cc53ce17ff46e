"""POST /api/v2/execute and what belongs to it."""

import base64
from typing import Any

import pytest

from api.compatible.versions import fits, version_of
from clients.models import Client
from executions.models import Execution, InputFile, Outcome, Status
from executions.verdict import Verdict
from runtimes.models import MIB, CodePolicy, Runtime
from tests.api.compatible.conftest import Caller, ending, spoilt

pytestmark = pytest.mark.django_db(transaction=True)
EXECUTE = "/api/v2/execute"
WHOLE: dict[str, Any] = {
    "language": "python",
    "version": "3.13.0",
    "files": [
        {"name": "my.py", "content": "print(1)", "encoding": "utf8"},
        {"name": "data/in.bin", "content": "/wA=", "encoding": "base64"},
    ],
    "stdin": "in",
    "args": ["-v"],
    "run_timeout": 3000,
    "run_cpu_time": 2000,
    "run_memory_limit": 128 * MIB,
    "compile_timeout": 10000,
    "compile_cpu_time": 10000,
    "compile_memory_limit": -1,
}


def execute(caller: Caller, **changed: Any) -> Any:
    body = {"language": "python", "version": "*", "files": [{"content": "print(1)"}]} | changed
    return caller.post(EXECUTE, {name: value for name, value in body.items() if value is not ...})


def message(answer: Any) -> str:
    assert answer.status_code == 400, answer.content
    return str(answer.json()["message"])


def ended(caller: Caller, verdict: Verdict, **columns: Any) -> dict[str, Any]:
    with ending(verdict, **columns):
        answer = execute(caller)
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


def test_program_runs_and_its_output_is_answered(caller: Caller) -> None:
    with ending(stdout="42\n", stderr="warned\n", cpu_ms=12, peak_memory_bytes=9 * MIB):
        answer = caller.post(EXECUTE, WHOLE)
    assert answer.status_code == 200, answer.content
    run = answer.json()["run"]
    assert answer.json() == {"language": "python", "version": "3.13.0", "run": run}
    assert (run["stdout"], run["stderr"], run["output"]) == ("42\n", "warned\n", "42\nwarned\n")
    assert (run["code"], run["signal"], run["status"], run["message"]) == (0, None, None, None)
    assert (run["cpu_time"], run["memory"]) == (12, 9 * MIB)


def test_what_was_asked_for_is_in_the_history(caller: Caller, client_row: Client) -> None:
    with ending():
        caller.post(EXECUTE, WHOLE)
    row = Execution.objects.get()
    assert (row.client, row.endpoint, row.mode) == (client_row, "piston", "script")
    assert (row.code, row.source_file, row.stdin, row.argv) == ("print(1)", "my.py", "in\n", ["-v"])
    assert [row.limits[name] for name in ("wall_time_ms", "cpu_time_ms", "memory_bytes")] == [
        3000,
        2000,
        128 * MIB,
    ]
    assert [(file.path, bytes(file.content)) for file in InputFile.objects.all()] == [("data/in.bin", b"\xff\0")]


def test_answer_names_the_execution(caller: Caller) -> None:
    with ending():
        answer = execute(caller)
    assert answer["X-Execution-Id"] == str(Execution.objects.get().pk)


@pytest.mark.parametrize("path", ["/api/v2/piston/execute", EXECUTE])
def test_address_of_the_public_instance_is_served_too(caller: Caller, path: str) -> None:
    with ending():
        assert caller.post(path, WHOLE).status_code == 200


@pytest.mark.parametrize(
    ("verdict", "code", "ended_by", "status"),
    [
        (Verdict(Status.FAILED, Outcome.NONZERO_EXIT, "m", exit_code=3), 3, None, "RE"),
        (Verdict(Status.FAILED, Outcome.SIGNALLED, "m", exit_code=139, signal=11), None, "SIGSEGV", "SG"),
        (Verdict(Status.TIMED_OUT, Outcome.WALL_TIME, "m"), None, "SIGKILL", "TO"),
        (Verdict(Status.OUT_OF_MEMORY, Outcome.MEMORY, "m"), None, "SIGKILL", "SG"),
        (Verdict(Status.OUTPUT_LIMIT, Outcome.STDOUT, "m"), None, "SIGKILL", "OL"),
        (Verdict(Status.OUTPUT_LIMIT, Outcome.STDERR, "m"), None, "SIGKILL", "EL"),
    ],
)
def test_end_of_a_program_is_a_normal_answer(
    caller: Caller, verdict: Verdict, code: int | None, ended_by: str | None, status: str
) -> None:
    run = ended(caller, verdict)["run"]
    assert (run["code"], run["signal"], run["status"], run["message"]) == (code, ended_by, status, "m")


def test_failed_compilation_fails_both_stages(caller: Caller, c_runtime: Runtime) -> None:
    verdict = Verdict(Status.FAILED, Outcome.COMPILE_FAILED, "m", exit_code=1)
    with ending(verdict, stderr="main.c:1: error"):
        answer = execute(caller, language="gcc").json()
    assert answer["language"] == "c"
    assert answer["compile"] == answer["run"]
    assert (answer["compile"]["code"], answer["compile"]["stderr"]) == (1, "main.c:1: error")


def test_compiled_program_has_a_stage_of_its_own(caller: Caller, c_runtime: Runtime) -> None:
    with ending(stdout="1"):
        answer = execute(caller, language="c").json()
    assert (answer["compile"]["code"], answer["compile"]["stdout"], answer["run"]["stdout"]) == (0, "", "1")


def test_fault_of_the_platform_is_no_result(caller: Caller) -> None:
    with ending(Verdict(Status.PLATFORM_ERROR, Outcome.SANDBOX_LOST, "It is gone.")):
        answer = execute(caller)
    assert answer.status_code == 500
    assert answer.json() == {"message": "The platform failed, not the program: It is gone."}


def test_full_queue_says_when_to_try_again(caller: Caller) -> None:
    with ending(Verdict(Status.CANCELLED, Outcome.QUEUE_TIMEOUT, "Too long.")):
        answer = execute(caller)
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")


def test_program_against_the_code_policy_is_refused(caller: Caller, python_runtime: Runtime) -> None:
    Runtime.objects.update(code_policy=CodePolicy.BLOCK)
    answer = execute(caller, files=[{"content": "import os\nos.system('x')"}])
    assert message(answer).startswith("files: ")
    assert Execution.objects.get().status == Status.REJECTED


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"language": ...}, "language is required as a string"),
        ({"version": 3}, "version is required as a string"),
        ({"files": ...}, "files is required as an array of at least one file"),
        ({"files": [{"name": "x"}]}, "files[0].content is required as a string"),
        ({"language": "cobol"}, "cobol-* runtime is unknown; GET /api/v2/runtimes lists them"),
        ({"version": "3.10.0"}, "python-3.10.0 runtime is unknown; there is 3.13.0"),
        ({"run_timeout": "3000"}, "if specified, run_timeout must be a non-negative number"),
        ({"run_timeout": -5}, "if specified, run_timeout must be a non-negative number"),
        ({"run_timeout": True}, "if specified, run_timeout must be a non-negative number"),
        ({"compile_timeout": 30_001}, "compile_timeout cannot exceed the configured limit of 30000"),
        (
            {"run_timeout": 10_001},
            "run_timeout is above the limit of the runtime python, which is 10 s.",
        ),
        ({"files": [{"content": "!", "encoding": "base64"}]}, "files[0].content is not base64"),
        ({"files": [{"content": "0", "encoding": "hex"}]}, "files[0].content is not hex"),
    ],
)
def test_invalid_request_says_what_is_wrong(caller: Caller, changed: dict[str, Any], expected: str) -> None:
    assert message(execute(caller, **changed)) == expected
    assert not Execution.objects.exists()


def test_cap_of_the_client_holds(caller: Caller, client_row: Client) -> None:
    Client.objects.filter(pk=client_row.pk).update(max_wall_time_ms=1000)
    assert "the cap of the client ragflow" in message(execute(caller, run_timeout=2000))


def test_quota_of_the_client_holds(caller: Caller, client_row: Client) -> None:
    Client.objects.filter(pk=client_row.pk).update(max_runs_per_minute=1)
    with ending():
        answers = [execute(caller) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert int(answers[1]["Retry-After"]) > 0


def test_runtime_that_the_client_may_not_use_is_unknown(caller: Caller, client_row: Client) -> None:
    Client.objects.filter(pk=client_row.pk).update(allowed_runtimes=["nodejs"])
    assert "runtime is unknown" in message(execute(caller))
    assert caller.get("/api/v2/runtimes").json() == []


def test_disabled_runtime_is_unknown(caller: Caller) -> None:
    Runtime.objects.update(enabled=False)
    assert "runtime is unknown" in message(execute(caller))


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.py", "a/../b.py"])
def test_path_out_of_the_workspace_is_refused(caller: Caller, path: str) -> None:
    assert message(execute(caller, files=[{"name": path, "content": "1"}])).startswith("files")


def test_program_without_a_name_gets_the_runtimes(caller: Caller, c_runtime: Runtime) -> None:
    with ending():
        execute(caller, language="c", files=[{"content": "x"}, {"content": "y"}])
    assert Execution.objects.get().source_file == "main.c"
    assert InputFile.objects.get().path == "file1.code"


def test_program_without_an_ending_gets_the_languages(caller: Caller, c_runtime: Runtime) -> None:
    with ending():
        execute(caller, language="c", files=[{"name": "prog", "content": "x"}])
    assert Execution.objects.get().source_file == "prog.c"


def test_program_may_be_in_base64(caller: Caller) -> None:
    content = base64.b64encode("print('ä')".encode()).decode()
    with ending():
        execute(caller, files=[{"content": content, "encoding": "base64"}])
    assert Execution.objects.get().code == "print('ä')"


def test_base64_may_have_line_breaks_and_no_padding(caller: Caller) -> None:
    encoded = base64.b64encode(b"print(12345)").decode().rstrip("=")
    with ending():
        execute(caller, files=[{"content": f"{encoded[:4]}\n{encoded[4:]}\n", "encoding": "base64"}])
    assert Execution.objects.get().code == "print(12345)"


@pytest.mark.parametrize("encoding", ["utf8", None, "latin1"])
def test_first_text_is_the_program(caller: Caller, encoding: str | None) -> None:
    data = {"name": "in.bin", "content": "/wA=", "encoding": "base64"}
    with ending():
        execute(caller, files=[data, {"content": "print(1)", "encoding": encoding}])
    row = Execution.objects.get()
    assert (row.code, row.source_file, InputFile.objects.get().path) == ("print(1)", "main.py", "in.bin")


@pytest.mark.parametrize(("stdin", "read"), [(..., "\n"), (None, "\n"), ("", "\n"), ("a", "a\n"), ("a\n", "a\n")])
def test_input_ends_with_a_line(caller: Caller, stdin: Any, read: str) -> None:
    body = {"language": "python", "version": "*", "files": [{"content": "input()"}]}
    with ending():
        caller.post(EXECUTE, body if stdin is ... else body | {"stdin": stdin})
    assert Execution.objects.get().stdin == read


def test_limit_of_0_is_the_runtimes(caller: Caller) -> None:
    limits = ("run_timeout", "run_cpu_time", "run_memory_limit", "compile_timeout")
    with ending():
        assert execute(caller, **dict.fromkeys(limits, 0)).status_code == 200
    row = Execution.objects.get()
    assert (row.limits["wall_time_ms"], row.limits["memory_bytes"]) == (10_000, 256 * MIB)


def test_limit_may_have_a_fraction(caller: Caller) -> None:
    with ending():
        execute(caller, run_timeout=1500.4)
    assert Execution.objects.get().limits["wall_time_ms"] == 1500


def test_runtimes_are_listed(caller: Caller, c_runtime: Runtime) -> None:
    assert caller.get("/api/v2/runtimes").json() == [
        {"language": "c", "version": "14.0.0", "aliases": ["gcc"]},
        {"language": "python", "version": "3.13.0", "aliases": ["python3"]},
    ]


def test_packages_are_the_runtimes(caller: Caller) -> None:
    listed = caller.get("/api/v2/packages").json()
    assert listed == [{"language": "python", "language_version": "3.13.0", "installed": True}]


def test_clients_install_nothing(caller: Caller) -> None:
    body = {"language": "python", "version": "3.13.0"}
    assert caller.post("/api/v2/packages", body).status_code == 403
    assert caller.http.delete("/api/v2/packages").status_code == 403


def test_no_body_is_a_fault_of_the_service(caller: Caller, nothing_runs: None) -> None:
    for body in spoilt(WHOLE):
        answer = caller.post(EXECUTE, body)
        assert answer.status_code < 500, (body[:200], answer.content)


@pytest.mark.parametrize(
    ("wanted", "does"),
    [
        ("*", True),
        ("3", True),
        ("3.x", True),
        ("3.13.0", True),
        ("v3.13", True),
        ("^3.1.0", True),
        ("~3.13", True),
        (">=3.10 <4", True),
        ("2 || 3", True),
        ("3.12", False),
        ("^4", False),
        (">3.13", False),
        ("<3.13.0", False),
        ("latest", False),
        ("", False),
        ("||", False),
        ("9" * 99, False),
    ],
)
def test_versions_are_ranges(wanted: str, does: bool) -> None:
    assert fits("3.13.0", wanted) is does


@pytest.mark.parametrize(
    ("name", "version"),
    [("Python 3.13", "3.13.0"), ("Java 21", "21.0.0"), ("TypeScript 5 (Node.js 24)", "5.0.0"), ("C", "0.0.0")],
)
def test_version_is_that_in_the_name(name: str, version: str) -> None:
    assert version_of(Runtime(name=name)) == version
