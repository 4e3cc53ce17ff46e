"""LibreChat's addresses."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import uuid_utils.compat
from urllib3 import encode_multipart_formdata

from api.compatible.librechat.ids import pk_of, session_of
from api.compatible.librechat.views import in_workspace
from api.compatible.running import with_files
from clients.models import Client
from executions import services
from executions.models import Artifact, Execution, Outcome, Status
from executions.verdict import Verdict
from runtimes.models import CodePolicy, Runtime
from tests.api.compatible.conftest import DONE, Caller, ending, spoilt
from tests.conftest import TOKEN

pytestmark = pytest.mark.django_db(transaction=True)
EXEC, UPLOAD = "/exec", "/upload"
WHOLE: dict[str, Any] = {
    "lang": "py",
    "code": "print(1)",
    "args": ["a"],
    "user_id": "1",
    "entity_id": "agent_1",
    "runtime_session_hint": "chat",
    "files": [{"id": "a" * 21, "session_id": "b" * 21, "storage_session_id": "b" * 21, "name": "in.csv"}],
}


@pytest.fixture
def chat(client_row: Client) -> Caller:
    return Caller(X_Api_Key=TOKEN)


def run(chat: Caller, **changed: Any) -> Any:
    return chat.post(EXEC, {"lang": "py", "code": "print(1)"} | changed)


def refused(answer: Any, status: int) -> str:
    assert (answer.status_code, list(answer.json())) == (status, ["error"]), answer.content
    return str(answer.json()["error"])


def uploaded(chat: Caller, *files: tuple[str, bytes], path: str = UPLOAD) -> Any:
    # Not Django's encoding of forms, which leaves folders out.
    body, kind = encode_multipart_formdata([("entity_id", "agent_1"), *(("file", file) for file in files)])
    return chat.http.post(path, body, content_type=kind)


def stored(chat: Caller, name: str = "in.csv", content: bytes = b"1,2") -> dict[str, str]:
    """A file as a later run names it."""
    answer = uploaded(chat, (name, content))
    assert answer.status_code == 200, answer.content
    said = answer.json()
    return {"id": said["files"][0]["fileId"], "session_id": said["session_id"], "name": name}


@pytest.fixture
def leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run ends at once and leaves out.txt."""

    def ended(view: Any, request: Any, beside: Callable[[], dict[str, bytes]]) -> Execution:
        execution = services.submit(with_files(request, beside()), policy=CodePolicy.OFF)
        Artifact.objects.create(execution=execution, name="out.txt", content=b"3", size=1)
        services.finish(execution.pk, DONE, artifact_count=1)
        return Execution.objects.get(pk=execution.pk)

    monkeypatch.setattr("api.compatible.librechat.views.run_to_end", ended)


def path_of(kind: str, file: dict[str, str]) -> str:
    return f"/{kind}/{file['session_id']}/{file['id']}"


def test_program_runs_and_its_output_is_answered(chat: Caller) -> None:
    with ending(stdout="1\n", stderr="warned\n"):
        answer = run(chat, args=["a"], user_id="1", runtime_session_hint="chat")
    row = Execution.objects.get()
    assert answer.status_code == 200
    assert answer.json() == {
        "session_id": session_of(row.pk),
        "stdout": "1\n",
        "stderr": "warned\n",
        "files": [],
        "code": 0,
        "signal": None,
        "message": None,
        "status": None,
        "wall_time": None,
    }
    assert (row.endpoint, row.mode, row.argv, row.runtime.slug) == ("librechat", "script", ["a"], "python")


@pytest.mark.parametrize(
    ("verdict", "stderr", "said"),
    [
        (
            Verdict(Status.FAILED, Outcome.NONZERO_EXIT, "Non-zero exit.", exit_code=3),
            "a\n",
            ("a\n", 3, None, "RE"),
        ),
        (Verdict(Status.TIMED_OUT, Outcome.WALL_TIME, "Slow."), "a\n", ("a\nSlow.\n", None, "SIGKILL", "TO")),
        (Verdict(Status.TIMED_OUT, Outcome.WALL_TIME, "Slow."), "", ("Slow.\n", None, "SIGKILL", "TO")),
        (Verdict(Status.FAILED, Outcome.SIGNALLED, "By 11.", signal=11), "", ("By 11.\n", None, "SIGSEGV", "SG")),
        (Verdict(Status.OUTPUT_LIMIT, Outcome.STDOUT, "Much."), "", ("Much.\n", None, "SIGKILL", "OL")),
    ],
)
def test_stderr_says_what_a_limit_did(chat: Caller, verdict: Verdict, stderr: str, said: tuple[Any, ...]) -> None:
    with ending(verdict, stderr=stderr):
        answer = run(chat).json()
    assert tuple(answer[name] for name in ("stderr", "code", "signal", "status")) == said


def test_uploaded_file_is_found_and_downloaded(chat: Caller) -> None:
    file = stored(chat, "in.csv", b"1,2")
    answer = chat.get(path_of("download", file))
    assert (answer.content, answer["Content-Type"]) == (b"1,2", "text/csv; charset=utf-8")
    assert answer["Content-Disposition"].startswith("attachment")
    (listed,) = chat.get(f"/files/{file['session_id']}?detail=summary").json()
    assert listed["name"] == f"{file['session_id']}/{file['id']}.csv"
    assert (listed["size"], listed["metadata"]["original-filename"]) == (3, "in.csv")
    alone = chat.get(f"/sessions/{file['session_id']}/objects/{file['id']}").json()
    assert alone == listed and alone["lastModified"]


def test_uploads_are_input_of_an_execution(chat: Caller, client_row: Client) -> None:
    stored(chat)
    row = Execution.objects.get()
    assert (row.client, row.endpoint, row.code, row.input_count) == (client_row, "librechat", "", 1)
    assert row.labels == {"librechat": "upload"}


def test_batch_keeps_folders(chat: Caller) -> None:
    answer = uploaded(chat, ("skill/a.md", b"a"), ("skill/lib/a.md", b"b"), path="/upload/batch")
    said = answer.json()
    assert (said["message"], said["succeeded"], said["failed"]) == ("success", 2, 0)
    assert [(file["status"], file["filename"]) for file in said["files"]] == [
        ("success", "skill/a.md"),
        ("success", "skill/lib/a.md"),
    ]
    assert sorted(Execution.objects.get().input_files.values_list("path", flat=True)) == [
        "skill/a.md",
        "skill/lib/a.md",
    ]


@pytest.mark.parametrize("name", ["../etc/passwd", "a/../b", "artifacts", "a\\b/.."])
def test_upload_with_a_path_that_cannot_be_is_refused(chat: Caller, name: str) -> None:
    assert refused(uploaded(chat, (name, b"1")), 400)
    assert not Execution.objects.exists()


def test_file_named_as_a_program_is_uploaded_and_beside_a_program(chat: Caller, leaving: None) -> None:
    given = stored(chat, "main.py", b"mine")
    assert run(chat, files=[given]).status_code == 200
    upload, program = Execution.objects.order_by("pk")
    for execution in (upload, program):
        assert execution.source_file == "main_1.py"
        assert bytes(execution.input_files.get(path="main.py").content) == b"mine"


def test_arguments_of_many_lists_are_refused(chat: Caller) -> None:
    deep: list[Any] = []
    for _ in range(600):
        deep = [deep]
    assert refused(run(chat, args=deep), 400)


def test_upload_without_a_file_is_refused(chat: Caller) -> None:
    assert refused(chat.http.post(UPLOAD, {"entity_id": "a"}, format="multipart"), 400) == "No files provided"


@pytest.mark.parametrize("body", [b"", b"--x", b"--x\r\n\r\n", b'--x\r\nContent-Disposition: form-data; name="a"'])
def test_form_that_is_none_is_refused(chat: Caller, body: bytes) -> None:
    answer = chat.http.post(UPLOAD, body, content_type="multipart/form-data; boundary=x")
    assert answer.status_code == 400, answer.content
    assert chat.http.post(UPLOAD, body, content_type="multipart/form-data").status_code == 400
    assert chat.post(UPLOAD, "{}").status_code == 415


def test_upload_without_a_runtime_is_refused(chat: Caller, client_row: Client) -> None:
    Runtime.objects.update(enabled=False)
    assert "no runtime" in refused(uploaded(chat, ("a", b"1")), 403)


def test_uploads_count_for_the_quotas(chat: Caller, client_row: Client) -> None:
    Client.objects.filter(pk=client_row.pk).update(max_open_executions=1)
    stored(chat)
    answer = uploaded(chat, ("a", b"1"))
    assert (answer.status_code, answer.json()["error"]) == (429, "rate_limited")


def test_files_of_other_runs_are_input_of_a_run(chat: Caller, leaving: None) -> None:
    given, (made,) = stored(chat, "in.csv", b"1,2"), run(chat).json()["files"]
    assert (made["name"], made["storage_session_id"]) == ("out.txt", made["session_id"])
    assert chat.get(path_of("download", made)).content == b"3"
    reference = {"id": made["id"], "storage_session_id": made["session_id"], "name": "/mnt/data/made.txt"}
    assert run(chat, files=[given, reference]).status_code == 200
    row = Execution.objects.latest("queued_at")
    inputs = {path: bytes(content) for path, content in row.input_files.values_list("path", "content")}
    assert inputs == {"in.csv": b"1,2", "made.txt": b"3"}


def test_name_that_cannot_be_encoded_is_refused(chat: Caller) -> None:
    assert "not printable" in refused(run(chat, files=[stored(chat) | {"name": "a\ud800.txt"}]), 400)


def test_of_two_files_with_one_name_the_last_is_taken(chat: Caller) -> None:
    first, second = stored(chat, content=b"old"), stored(chat, content=b"new")
    with ending():
        run(chat, files=[first, second])
    (file,) = Execution.objects.latest("queued_at").input_files.all()
    assert bytes(file.content) == b"new"


def test_files_too_large_together_are_refused(chat: Caller, settings: Any) -> None:
    files = [stored(chat, name, b"x" * 600) for name in ("a", "b")]
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    assert "1,200 bytes" in refused(run(chat, files=files), 413)


def test_nothing_of_another_client_is_reachable(chat: Caller, stranger: Caller, client_row: Client) -> None:
    file = stored(chat)
    for path in (
        path_of("download", file),
        f"/files/{file['session_id']}",
        f"/sessions/{file['session_id']}/objects/{file['id']}",
    ):
        assert chat.get(path).status_code == 200
        assert stranger.get(path).status_code == 404, path
    assert "was not found" in refused(run(stranger, files=[file]), 400)


def test_runs_of_other_doors_are_no_sessions(chat: Caller, client_row: Client, python_runtime: Runtime) -> None:
    stored(chat)
    Execution.objects.update(endpoint="api")
    assert chat.get(f"/files/{session_of(Execution.objects.get().pk)}").status_code == 404


@pytest.mark.parametrize("session", ["x", "-" * 21, "é" * 21, "A" * 20, "A" * 22, "%00" * 21, "a" * 20 + "b"])
def test_unknown_session_is_not_found(chat: Caller, session: str) -> None:
    for path in (f"/files/{session}", f"/download/{session}/{'a' * 21}"):
        assert refused(chat.get(path), 404)


def test_callers_delete_nothing(chat: Caller) -> None:
    file = stored(chat)
    assert refused(chat.http.delete(path_of("files", file)), 403)
    assert chat.get(path_of("download", file)).status_code == 200


def test_folder_of_librechat_is_the_working_folder(chat: Caller) -> None:
    with ending():
        run(chat, code="open('/mnt/data/a')", args=["/mnt/data/b", "--to=/mnt/data"])
    row = Execution.objects.get()
    assert (row.code, row.argv) == ("open('/workspace/a')", ["/workspace/b", "--to=/workspace"])
    for untouched in ("/home/mnt/data", "/mnt/data2", "/mnt/database", "x.mnt/data"):
        assert in_workspace(untouched) == untouched


def test_what_is_not_there_is_refused(chat: Caller, client_row: Client, nothing_runs: None) -> None:
    assert refused(run(chat, lang="d"), 400) == "Unsupported language: d"
    assert refused(run(chat, code=None), 400) == "code is required as a text"
    assert refused(chat.post("/exec/programmatic", WHOLE), 404)
    assert "files" in refused(run(chat, files=[WHOLE["files"][0]] * 101), 400)
    busy = run(chat)
    assert (busy.status_code, busy.json()) == (
        429,
        {"error": "rate_limited", "message": "Enough.", "retry_after_seconds": 7},
    )


def test_program_that_the_code_policy_rejects_is_refused(chat: Caller, python_runtime: Runtime) -> None:
    Runtime.objects.update(code_policy=CodePolicy.BLOCK)
    assert refused(run(chat, code="import os\nos.system('ls')"), 400)


def test_session_is_the_id_of_its_execution() -> None:
    for _ in range(100):
        pk = uuid_utils.compat.uuid7()
        session = session_of(pk)
        assert (len(session), pk_of(session)) == (21, pk)
    assert pk_of(session_of(UUID("ffffffff-ffff-7fff-bfff-ffffffffffff"))) == UUID(
        "ffffffff-ffff-7fff-bfff-ffffffffffff"
    )


def test_no_body_is_a_fault_of_the_service(chat: Caller, nothing_runs: None) -> None:
    for body in spoilt(WHOLE):
        answer = chat.post(EXEC, body)
        assert answer.status_code in (400, 413, 429), (body[:200], answer.content)
        assert answer.json()["error"]
