"""POST /run_code and POST /run_jupyter."""

import base64
import json
from typing import Any

import pytest
from django.http import HttpRequest

from api.compatible.sandbox_fusion import cells
from clients.models import Client
from executions import places, services, waiting
from executions.models import Artifact, Execution, InputFile, Outcome, Status
from executions.verdict import Verdict
from executions.waiting import Waiter
from runtimes.models import MIB, CodePolicy, Runtime
from tests.api.compatible.conftest import DONE, Caller, ending, spoilt

pytestmark = pytest.mark.django_db(transaction=True)
RUN, CELLS = "/run_code", "/run_jupyter"
WHOLE: dict[str, Any] = {
    "code": "print(1)",
    "language": "python",
    "stdin": "in",
    "args": ["-v"],
    "compile_timeout": 10,
    "run_timeout": 5.5,
    "memory_limit_MB": 128,
    "files": {"data/in.bin": "/wA=", "none.txt": None},
    "fetch_files": ["out.txt", "./artifacts/plot.png", "missing"],
}
NOTEBOOK: dict[str, Any] = {
    "cells": ["a = 1", "a"],
    "cell_timeout": 0,
    "total_timeout": 45,
    "memory_limit_MB": -1,
    "kernel": "python3",
    "files": {},
    "fetch_files": [],
}
CELL = {"stdout": "", "stderr": "", "display": [], "error": []}


def run(caller: Caller, **changed: Any) -> Any:
    return caller.post(RUN, {"code": "print(1)", "language": "python"} | changed)


def refused(answer: Any) -> tuple[list[str], str]:
    assert answer.status_code == 422, answer.content
    problem = answer.json()["detail"][0]
    return problem["loc"], problem["msg"]


def test_program_runs_and_its_output_is_answered(caller: Caller) -> None:
    with ending(stdout="1\n", stderr="warned"):
        answer = caller.post(RUN, WHOLE)
    assert answer.status_code == 200, answer.content
    assert answer.json() == {
        "status": "Success",
        "message": "",
        "executor_pod_name": None,
        "compile_result": None,
        "run_result": {
            "status": "Finished",
            "execution_time": None,
            "return_code": 0,
            "stdout": "1\n",
            "stderr": "warned",
        },
        "files": {},
    }


def test_what_was_asked_for_is_in_the_history(caller: Caller, client_row: Client) -> None:
    with ending():
        caller.post(RUN, WHOLE)
    row = Execution.objects.get()
    assert (row.client, row.endpoint, row.mode) == (client_row, "sandboxfusion", "script")
    assert (row.code, row.stdin, row.argv) == ("print(1)", "in", ["-v"])
    assert (row.limits["wall_time_ms"], row.limits["memory_bytes"]) == (5500, 128 * MIB)
    assert [(file.path, bytes(file.content)) for file in InputFile.objects.all()] == [("data/in.bin", b"\xff\0")]


@pytest.fixture
def leaving_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every program leaves three files."""

    def ended(waiter: Waiter, http: HttpRequest) -> Execution:
        execution = Execution.objects.get(pk=waiter.execution_id)
        for name in ("out.txt", "plot.png", "other.txt"):
            content = name.encode()
            Artifact.objects.create(execution=execution, name=name, content=content, size=len(content))
        services.finish(execution.pk, DONE, artifact_count=3)
        return Execution.objects.get(pk=execution.pk)

    monkeypatch.setattr("api.compatible.running.finished", ended)


def test_files_that_were_asked_for_come_back(caller: Caller, leaving_files: None) -> None:
    files = caller.post(RUN, WHOLE).json()["files"]
    assert {path: base64.b64decode(content) for path, content in files.items()} == {
        "out.txt": b"out.txt",
        "./artifacts/plot.png": b"plot.png",
    }


def test_files_that_are_too_large_together_are_refused(caller: Caller, leaving_files: None, settings: Any) -> None:
    settings.SANDBOX_MAX_PAGE_BYTES = 14
    answer = caller.post(RUN, WHOLE)
    assert (answer.status_code, "SANDBOX_MAX_PAGE" in answer.json()["detail"]) == (413, True)
    settings.SANDBOX_MAX_PAGE_BYTES = 15
    assert caller.post(RUN, WHOLE).status_code == 200


def test_large_answers_are_few_at_a_time(
    caller: Caller, leaving_files: None, client_row: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = places.Places(1, share=1)
    monkeypatch.setattr(places, "pages", one)
    monkeypatch.setattr(places, "LARGE_PAGE_BYTES", 15)
    monkeypatch.setattr(places, "LOOK_S", 0)
    monkeypatch.setattr(waiting, "gives_up", lambda http: lambda: True)
    assert one.take(client_row.pk)
    assert caller.post(RUN, WHOLE).status_code == 429
    assert caller.post(RUN, WHOLE | {"fetch_files": ["out.txt"]}).status_code == 200
    one.give_back(client_row.pk)
    # Until it is sent; the test's client closes it at once.
    assert caller.post(RUN, WHOLE).status_code == 200
    assert one.take(client_row.pk)


def test_answer_that_waits_holds_the_place_of_its_run(
    caller: Caller, leaving_files: None, client_row: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So threads that wait are as few as those of runs."""
    monkeypatch.setattr(places, "pages", pages := places.Places(1, share=1))
    monkeypatch.setattr(places, "waits", waits := places.Places(8, share=7))
    monkeypatch.setattr(places, "LARGE_PAGE_BYTES", 15)
    monkeypatch.setattr(places, "LOOK_S", 0)
    held: list[int] = []

    def give_back() -> bool:
        held.append(waits._held[client_row.pk])
        pages.give_back(client_row.pk)
        return False

    monkeypatch.setattr(waiting, "gives_up", lambda http: give_back)
    assert pages.take(client_row.pk)
    assert set(caller.post(RUN, WHOLE).json()["files"]) == {"out.txt", "./artifacts/plot.png"}
    assert (held, waits._held.total()) == ([1], 0)


@pytest.mark.parametrize(
    ("verdict", "status", "code", "message"),
    [
        (Verdict(Status.FAILED, Outcome.NONZERO_EXIT, "m", exit_code=3), "Finished", 3, ""),
        (Verdict(Status.FAILED, Outcome.SIGNALLED, "m", exit_code=139, signal=11), "Finished", -11, ""),
        (Verdict(Status.TIMED_OUT, Outcome.WALL_TIME, "m"), "TimeLimitExceeded", None, "m"),
        (Verdict(Status.OUT_OF_MEMORY, Outcome.MEMORY, "m"), "Finished", -9, "m"),
    ],
)
def test_end_of_a_program_is_a_normal_answer(
    caller: Caller, verdict: Verdict, status: str, code: int | None, message: str
) -> None:
    with ending(verdict):
        answer = run(caller).json()
    assert (answer["status"], answer["message"]) == ("Failed", message)
    assert (answer["run_result"]["status"], answer["run_result"]["return_code"]) == (status, code)


def test_failed_compilation_has_no_run(caller: Caller, c_runtime: Runtime) -> None:
    verdict = Verdict(Status.FAILED, Outcome.COMPILE_FAILED, "m", exit_code=1)
    with ending(verdict, stderr="main.c:1: error"):
        answer = run(caller, language="c").json()
    assert (answer["status"], answer["run_result"]) == ("Failed", None)
    assert (answer["compile_result"]["return_code"], answer["compile_result"]["stderr"]) == (1, "main.c:1: error")


def test_compiled_program_has_both(caller: Caller, c_runtime: Runtime) -> None:
    with ending(stdout="1"):
        answer = run(caller, language="c").json()
    assert (answer["compile_result"]["return_code"], answer["run_result"]["stdout"]) == (0, "1")


def test_fault_of_the_platform_is_an_error_of_the_sandbox(caller: Caller) -> None:
    with ending(Verdict(Status.PLATFORM_ERROR, Outcome.INTERNAL, "m")):
        answer = run(caller)
    assert (answer.status_code, answer.json()["status"]) == (500, "SandboxError")


@pytest.mark.parametrize(
    ("changed", "field", "text"),
    [
        ({"code": None}, "code", "Input should be a valid string"),
        ({"language": "lean"}, "language", "There is no language 'lean' here."),
        ({"args": "-v"}, "args", "Input should be a list of strings"),
        ({"run_timeout": "5"}, "run_timeout", "Input should be a valid number"),
        ({"run_timeout": 0}, "run_timeout", "Input should be a number greater than 0"),
        ({"compile_timeout": True}, "compile_timeout", "Input should be a valid number"),
        ({"compile_timeout": 31, "language": "c"}, "compile_timeout", "The compiler has 30 s here."),
        ({"memory_limit_MB": 32}, "memory_limit_MB", "Input should be greater than or equal to 64"),
        ({"files": {"a": "!"}}, "files", "The content of 'a' is not base64."),
        (
            {"run_timeout": 11},
            "run_timeout",
            "run_timeout is above the limit of the runtime python, which is 10 s.",
        ),
        (
            {"memory_limit_MB": 1024},
            "memory_limit_MB",
            "memory_limit_MB is above the limit of the runtime python, which is 256 MiB.",
        ),
    ],
)
def test_invalid_field_is_named(
    caller: Caller, c_runtime: Runtime, changed: dict[str, Any], field: str, text: str
) -> None:
    assert refused(run(caller, **changed)) == (["body", field], text)
    assert not Execution.objects.exists()


def test_default_time_of_clients_stands_for_the_runtimes(caller: Caller) -> None:
    Runtime.objects.update(wall_time_ms=5000)
    with ending():
        assert run(caller, run_timeout=10.0).status_code == 200
    assert Execution.objects.get().limits["wall_time_ms"] == 5000


@pytest.mark.parametrize("changed", [{"compile_timeout": 60}, {"memory_limit_MB": 0}, {"memory_limit_MB": -1}])
def test_limit_of_nothing_is_none(caller: Caller, changed: dict[str, Any]) -> None:
    with ending():
        assert run(caller, **changed).status_code == 200


def test_time_of_a_cell_is_not_applied(caller: Caller) -> None:
    with ending():
        assert caller.post(CELLS, NOTEBOOK | {"cell_timeout": 3}).status_code == 200


def test_content_may_have_line_breaks(caller: Caller) -> None:
    with ending():
        run(caller, files={"a": "/w\nA=\n"})
    assert bytes(InputFile.objects.get().content) == b"\xff\0"


@pytest.mark.parametrize(("path", "body"), [(RUN, {"code": "print(1)", "language": "python"}), (CELLS, NOTEBOOK)])
def test_file_may_have_the_name_of_the_program(caller: Caller, path: str, body: dict[str, Any]) -> None:
    files = {"./main.py": "MQ==", "main_1.py": "Mg=="}
    with ending():
        assert caller.post(path, body | {"files": files}).status_code == 200
    row = Execution.objects.get()
    assert row.source_file == "main_2.py"
    assert sorted(row.input_files.values_list("path", flat=True)) == ["main.py", "main_1.py"]


def test_program_that_is_run_by_its_name_replaces_the_file(caller: Caller) -> None:
    Runtime.objects.update(run_command="run {name}")
    with ending():
        assert run(caller, files={"main.py": "MQ==", "a": "MQ=="}).status_code == 200
    row = Execution.objects.get()
    assert (row.code, row.source_file) == ("print(1)", "main.py")
    assert [file.path for file in row.input_files.all()] == ["a"]


def test_path_out_of_the_workspace_is_refused(caller: Caller) -> None:
    assert refused(run(caller, files={"../x": ""}))[0] == ["body", "files[0].path"]


def test_cells_run_and_their_outputs_are_answered(caller: Caller, client_row: Client) -> None:
    done = [CELL, CELL | {"display": [{"text/plain": "1"}]}]
    with ending(Verdict(Status.SUCCEEDED, Outcome.COMPLETED, exit_code=0, result=json.dumps(done))):
        answer = caller.post(CELLS, NOTEBOOK)
    assert answer.status_code == 200, answer.content
    assert (answer.json()["status"], answer.json()["cells"]) == ("Success", done)
    row = Execution.objects.get()
    assert (row.endpoint, row.mode, row.arguments) == (
        "sandboxfusion",
        "function",
        '{"cells": ["a = 1", "a"]}',
    )


@pytest.mark.parametrize("result", ["3", "[3]", "[{}]", json.dumps([CELL | {"more": 1}]), None])
def test_program_cannot_change_the_shape_of_the_answer(caller: Caller, result: str | None) -> None:
    with ending(Verdict(Status.SUCCEEDED, Outcome.COMPLETED, exit_code=0, result=result)):
        assert caller.post(CELLS, NOTEBOOK).json()["cells"] == []


def test_code_policy_is_for_the_cells(caller: Caller) -> None:
    Runtime.objects.update(code_policy=CodePolicy.BLOCK)
    answer = caller.post(CELLS, NOTEBOOK | {"cells": ["import os", "os.system('x')"]})
    assert refused(answer)[0] == ["body", "cells"]
    with ending():
        assert caller.post(CELLS, NOTEBOOK).status_code == 200


@pytest.mark.parametrize(
    ("changed", "field"),
    [({"cells": []}, "cells"), ({"kernel": "ir"}, "kernel"), ({"cell_timeout": "3"}, "cell_timeout")],
)
def test_what_cells_cannot_have_is_refused(caller: Caller, changed: dict[str, Any], field: str) -> None:
    assert refused(caller.post(CELLS, NOTEBOOK | changed))[0] == ["body", field]


def test_cells_share_names_and_show_their_last_line() -> None:
    first, second = cells.main(["import sys\na = 1\nprint('x', file=sys.stderr)", "print(a)\na + 1"])
    assert (first["stderr"], first["display"]) == ("x\n", [])
    assert (second["stdout"], second["display"]) == ("1\n", [{"text/plain": "2"}])


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("1/0", "ZeroDivisionError"),
        ("(", "SyntaxError"),
        ("raise SystemExit", "SystemExit"),
        ("class Odd(Exception):\n    __str__ = None\nraise Odd", "Odd"),
    ],
)
def test_cells_after_a_failed_one_run(source: str, name: str) -> None:
    done = cells.main(["a = 1", source, "print(a)"])
    assert ([len(cell["error"]) for cell in done], done[2]["stdout"]) == ([0, 1, 0], "1\n")
    assert done[1]["error"][0]["ename"] == name


def test_cell_that_closes_its_stream_is_not_the_last() -> None:
    done = cells.main(["import sys\nprint('x')\nsys.stdout.close()", "print(1)"])
    assert [cell["stdout"] for cell in done] == ["x\n", "1\n"]


@pytest.mark.parametrize(("path", "whole"), [(RUN, WHOLE), (CELLS, NOTEBOOK)])
def test_no_body_is_a_fault_of_the_service(
    caller: Caller, nothing_runs: None, path: str, whole: dict[str, Any]
) -> None:
    for body in spoilt(whole):
        answer = caller.post(path, body)
        assert answer.status_code < 500, (body[:200], answer.content)
