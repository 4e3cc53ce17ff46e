"""POST /api/v1/executions, up to the queue; what becomes of it there: test_live.py."""

import base64
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from rest_framework.test import APIClient

from audit.models import RetentionPolicy
from clients.models import Client, ClientStorage
from executions.models import Execution, Status
from redaction import services as redaction
from redaction.models import RedactionPattern
from runtimes.models import MIB, CodePolicy, Runtime
from tests.api.conforming import ConformingClient
from tests.api.v1.conftest import API
from tests.conftest import TOKEN

pytestmark = pytest.mark.django_db
Submit = Callable[..., Any]
MAIN = {"path": "main.py", "content": "print(1)"}
DATA = {"path": "data/in.bin", "content_base64": base64.b64encode(b"\xff\0").decode()}


def test_submitted_program_is_queued(submit: Submit) -> None:
    answer = submit()
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


def test_location_leads_to_the_execution(submit: Submit, api: APIClient) -> None:
    answer = submit()
    assert api.get(answer["Location"]).json()["id"] == answer.json()["id"]


def test_runtime_may_be_an_alias(submit: Submit) -> None:
    assert submit(runtime="python3").json()["runtime"] == "python"


def test_what_was_asked_for_is_stored(submit: Submit, client_row: Client) -> None:
    submit(
        mode="function",
        arguments={"a": "\ud800"},
        stdin="in",
        argv=["-v"],
        environment={"A": "b"},
        labels={"c": "d"},
    )
    row = Execution.objects.get()
    assert (row.client, row.mode, row.arguments) == (client_row, "function", '{"a": "\\ud800"}')
    assert (row.stdin, row.argv, row.variables, row.labels) == ("in", ["-v"], {"A": "b"}, {"c": "d"})


def test_files_beside_the_program_are_stored(submit: Submit) -> None:
    submit(code=..., files=[MAIN, DATA])
    row = Execution.objects.get()
    assert (row.code, row.source_file, row.input_count) == ("print(1)", "main.py", 1)
    assert [(f.path, bytes(f.content)) for f in row.input_files.all()] == [("data/in.bin", b"\xff\0")]


def test_entry_names_the_program(submit: Submit) -> None:
    submit(code=..., files=[MAIN, {"path": "app/run.py", "content": "2"}], entry="app/run.py")
    row = Execution.objects.get()
    assert (row.code, row.source_file) == ("2", "app/run.py")


def test_text_parts_of_a_form_are_files_too(api: APIClient) -> None:
    form = {"execution": '{"runtime": "python", "entry": "main.py"}', "main.py": "print(1)", "data/in.csv": "1;2"}
    answer = api.post(f"{API}/executions", form, format="multipart")
    assert answer.status_code == 202, answer.content
    execution = Execution.objects.get()
    assert (execution.code, execution.input_files.get().path) == ("print(1)", "data/in.csv")


def test_files_of_a_form_are_named_by_their_parts(api: APIClient) -> None:
    form = {
        "execution": '{"runtime": "python", "entry": "app/main.py"}',
        "app/main.py": SimpleUploadedFile("x", b"print(1)"),
        "data/in.bin": SimpleUploadedFile("x", b"\xff"),
    }
    answer = api.post(f"{API}/executions", form, format="multipart")
    assert answer.status_code == 202, answer.json()
    assert answer.json()["files"] == [{"path": "data/in.bin", "size": 1}]


def test_limits_are_the_runtimes_unless_lower_ones_are_asked_for(submit: Submit, python_runtime: Runtime) -> None:
    submit(limits={"wall_time_ms": 500, "memory_bytes": 64 * MIB})
    wanted = python_runtime.limits.as_dict() | {"wall_time_ms": 500, "memory_bytes": 64 * MIB}
    assert Execution.objects.get().limits == wanted


def test_limit_above_the_cap_is_named_with_the_cap(submit: Submit) -> None:
    answer = submit(limits={"wall_time_ms": 10_001})
    assert (answer.status_code, answer.json()["field"]) == (422, "limits.wall_time_ms")
    assert "which is 10 s" in answer.json()["detail"]
    assert "10000 (10 s)" in answer.json()["remedy"]


def test_code_policy_of_the_runtime_applies(submit: Submit, python_runtime: Runtime) -> None:
    Runtime.objects.update(code_policy=CodePolicy.BLOCK)
    answer = submit(code="import os\nos.system('x')")
    assert (answer.status_code, answer.json()["status"]) == (201, "rejected")


PATHS = [
    "/etc/passwd", "../x", "a/../x", "a//b", "a/", "./a", "a\\b", "a\nb", "artifacts", "a" * 201, "é" * 128,
    "/".join("a" * 21), "a\0b", "\ud800", "",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_path_outside_the_workspace_is_refused(submit: Submit, path: str) -> None:
    answer = submit(files=[{"path": path, "content": ""}])
    assert (answer.status_code, answer.json()["field"]) == (422, "files[0].path")
    assert not Execution.objects.exists()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no runtime": ({"runtime": ...}, "runtime"),
    "unknown runtime": ({"runtime": "cobol"}, "runtime"),
    "runtime with NUL": ({"runtime": "python\0"}, "runtime"),
    "runtime that is a number": ({"runtime": 1}, "runtime"),
    "no program": ({"code": ...}, "code"),
    "code that is a number": ({"code": 1}, "code"),
    "code with NUL": ({"code": "\0"}, "code"),
    "code with a lone surrogate": ({"code": "'\ud800'"}, "code"),
    "unknown field": ({"enviroment": {}}, "enviroment"),
    "unknown mode": ({"mode": "repl"}, "mode"),
    "mode that is a list": ({"mode": ["script"]}, "mode"),
    "arguments that are a list": ({"arguments": [1]}, "arguments"),
    "argv with a number": ({"argv": ["a", 1]}, "argv[1]"),
    "loader's variable": ({"environment": {"LD_PRELOAD": "x"}}, "environment.LD_PRELOAD"),
    "runner's variable": ({"environment": {"SANDBOX_PRELOAD": "x"}}, "environment.SANDBOX_PRELOAD"),
    "variable with =": ({"environment": {"A=B": "x"}}, "environment.A=B"),
    "variable with NUL": ({"environment": {"A": "\0"}}, "environment.A"),
    "label that is no text": ({"labels": {"a": 1}}, "labels.a"),
    "label's name": ({"labels": {"a:b": "x"}}, "labels.a:b"),
    "nested label": ({"labels": {"a": {"b": "c"}}}, "labels.a"),
    "limit that cannot be asked for": ({"limits": {"cpus": 1}}, "limits.cpus"),
    "limit that is true": ({"limits": {"wall_time_ms": True}}, "limits.wall_time_ms"),
    "limit of nothing": ({"limits": {"wall_time_ms": 0}}, "limits.wall_time_ms"),
    "huge limit": ({"limits": {"wall_time_ms": 10**400}}, "limits.wall_time_ms"),
    "null limits": ({"limits": None}, "limits"),
    "negative wait": ({"wait": -1}, "wait"),
    "wait as text": ({"wait": "1"}, "wait"),
    "hugely negative wait": ({"wait": -(10**400)}, "wait"),
    "huge wait": ({"wait": 10**400}, "wait"),
    "too little memory": ({"limits": {"memory_bytes": 1}}, "limits.memory_bytes"),
    "both contents": ({"files": [{**DATA, "content": ""}]}, "files[0]"),
    "no content": ({"files": [{"path": "a"}]}, "files[0]"),
    "not base64": ({"files": [{"path": "a", "content_base64": "é"}]}, "files[0].content_base64"),
    "same file twice": ({"files": [DATA, DATA]}, "files[1].path"),
    "file and folder": ({"files": [{"path": "data", "content": ""}, DATA]}, "files"),
    "file where the code goes": ({"files": [MAIN]}, "files"),
    "code and entry": ({"entry": "a.py"}, "entry"),
    "entry that is not there": ({"code": ..., "files": [MAIN], "entry": "a.py"}, "entry"),
    "several files without entry": ({"code": ..., "files": [DATA, {**DATA, "path": "b"}]}, "entry"),
    "program that is no text": ({"code": ..., "files": [DATA]}, "files"),
    "files that are none": ({"files": "main.py"}, "files"),
}


@pytest.mark.parametrize(("body", "field"), REFUSED.values(), ids=REFUSED)
def test_wrong_field_is_named_with_a_remedy(submit: Submit, body: dict[str, Any], field: str) -> None:
    answer = submit(**body)
    problem = answer.json()
    assert (answer.status_code, problem["field"], bool(problem["remedy"])) == (422, field, True), problem
    assert not Execution.objects.exists()


def test_arguments_nested_too_deeply_are_refused(api: APIClient) -> None:
    body = '{"runtime": "python", "code": "", "arguments": {"a": ' + "[" * 600 + "]" * 600 + "}}"
    answer = api.post(f"{API}/executions", body, content_type="application/json")
    assert (answer.status_code, answer.json()["field"]) == (422, "arguments")


# -- Idempotency-Key ----------------------------------------------------------------------------------------

KEY = {"Idempotency-Key": "k-1"}


def test_repeat_with_the_same_key_is_the_first_execution(submit: Submit) -> None:
    first, second = submit(headers=KEY), submit(headers=KEY)
    assert first.json()["id"] == second.json()["id"]
    assert Execution.objects.count() == 1


def test_repeat_of_a_finished_one_is_answered_with_200(submit: Submit) -> None:
    submit(headers=KEY)
    Execution.objects.update(status=Status.SUCCEEDED, outcome="completed", finished_at="2026-01-01T00:00Z")
    assert submit(headers=KEY).status_code == 200


def test_another_body_under_the_same_key_is_a_conflict(submit: Submit) -> None:
    submit(headers=KEY)
    answer = submit(headers=KEY, code="print(2)")
    assert (answer.status_code, answer.json()["field"]) == (409, "Idempotency-Key")


def test_keys_of_two_clients_are_two(submit: Submit, stranger: APIClient) -> None:
    submit(headers=KEY)
    body = {"runtime": "python", "code": "print(2)"}
    assert stranger.post(f"{API}/executions", body, format="json", headers=KEY).status_code == 202


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "é"])
def test_key_that_is_none_is_refused(submit: Submit, key: str) -> None:
    answer = submit(headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["field"]) == (422, "Idempotency-Key")


@pytest.mark.django_db(transaction=True)
def test_simultaneous_repeats_make_one_execution(
    client_with_token: tuple[Client, str], python_runtime: Runtime
) -> None:
    ids, barrier = [], threading.Barrier(6)

    def call() -> None:
        api = ConformingClient(headers={"Authorization": f"Bearer {TOKEN}"})
        barrier.wait()
        body = {"runtime": "python", "code": "print(1)"}
        ids.append(api.post(f"{API}/executions", body, format="json", headers=KEY).json().get("id"))
        connection.close()

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(ids), len(set(ids)), Execution.objects.count()) == (6, 1, 1)


def test_mode_that_the_runtime_has_not_is_refused(submit: Submit) -> None:
    Runtime.objects.update(modes=["script"])
    answer = submit(mode="function")
    told = answer.json()
    assert (answer.status_code, told["field"], told["remedy"]) == (422, "mode", "Send script.")


def test_a_disabled_runtime_is_refused_without_a_row(submit: Submit, api: APIClient) -> None:
    Runtime.objects.update(enabled=False)
    batch = {"executions": [{"runtime": "python", "code": ""}] * 3}
    for answer in (submit(), api.post(f"{API}/batches", batch, format="json")):
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (409, "runtime_disabled")
        assert answer.json()["field"] == "runtime"
    assert not Execution.objects.exists()


def test_client_that_stores_too_much_is_told_how_much_and_the_remedy(submit: Submit, client_row: Client) -> None:
    Client.objects.update(max_stored_bytes=2**20)
    ClientStorage.objects.create(client=client_row, bytes=3 * 2**20)
    answer = submit()
    assert (answer.status_code, answer["Retry-After"]) == (429, "3600")
    problem = answer.json()
    assert problem["type"] == "urn:sandbox-platform:problem:storage_full"
    assert problem["detail"] == "This client's history holds 3 MiB and may hold 1 MiB."
    assert "retention" in problem["remedy"]
    assert not Execution.objects.exists()


def test_callback_url_with_a_secret_is_refused_with_the_field_and_the_remedy(
    submit: Submit, client_row: Client
) -> None:
    RedactionPattern.objects.create(name="tokens", regex="tok-[a-z]+", replacement="[redacted]")
    RetentionPolicy.objects.create(client=client_row, redact=True)
    redaction.cache.forget()
    answer = submit(callback_url="https://8.8.8.8/hook?key=tok-abcdef")
    redaction.cache.forget()
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["field"] == "callback_url"
    assert "signed" in problem["remedy"]
    assert "tok-" not in answer.content.decode()
    assert not Execution.objects.exists()
