"""What people and clients do without changing a watched row stands in the trail: who, what, when and from where."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import ProgrammingError, connection
from django.test import Client as Browser
from django.urls import reverse

from audit import queries, sealing
from audit.models import Leaf, TrailEntry
from audit.models.changes import ActEvent
from audit.verification import verify
from clients.models import Client, Role
from executions import services
from executions.models import Artifact, Execution, Outcome, Status
from runtimes.models import Runtime
from sandbox_platform.kit import acts
from sandbox_platform.kit.acts import Kind
from sandboxes.models import Sandbox, SandboxState
from tests.conftest import TOKEN
from tests.pages import words
from tests.tasks import queued

pytestmark = pytest.mark.django_db
MakeExecution = Callable[..., Execution]
POOL = reverse("admin:pool")
TRAIL = reverse("admin:audit_trailentry_changelist")


def told() -> list[TrailEntry]:
    """The acts in the trail, oldest first."""
    return list(queries.trail().filter(pgh_obj_model="audit.Act").order_by("pgh_id"))


def api(path: str, token: str = TOKEN, method: str = "get") -> Any:
    return getattr(Browser(), method)(f"/api/v1{path}", headers={"X-Sandbox-Token": token})


def sandbox(runtime: Runtime, state: SandboxState, **fields: object) -> Sandbox:
    return Sandbox.objects.create(
        runtime=runtime, runtime_revision=1, node="n", profile_sha256="", state=state, container_id="abc", **fields
    )


@pytest.fixture
def execution(client_with_token: tuple[Client, str], make_execution: MakeExecution) -> Execution:
    execution = make_execution(client=client_with_token[0], artifact_count=1)
    Artifact.objects.create(execution=execution, name="plot.png", content=b"PNG", size=3)
    return execution


@pytest.fixture
def auditor() -> str:
    return Client.objects.create_with_token("auditor", "t" * 40, role=Role.AUDITOR)[1]


def test_who_cancelled_an_execution_on_its_page(
    browser: Browser, client_with_token: tuple[Client, str], make_execution: MakeExecution
) -> None:
    execution = make_execution(client=client_with_token[0], status=Status.QUEUED)
    browser.post(reverse("admin:executions_execution_cancel", args=[execution.pk]))
    (entry,) = told()
    assert (entry.who, entry.what, entry.change) == ("user admin", f"execution {execution.pk}", "cancelled")
    assert (entry.where, entry.behalf) == ("127.0.0.1", "client ragflow")
    assert entry.changes["status"] == ("queued", "cancelled")
    page = browser.get(reverse("admin:executions_execution_change", args=[execution.pk])).content.decode()
    assert "Cancelled by user admin." in page


def test_who_cancelled_an_execution_in_the_queue(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.QUEUED)
    services.enqueue(execution)
    (pk,) = _queued_rows()
    form = {"action": "cancel", "_selected_action": [pk]}
    browser.post(reverse("admin:django_q_ormq_changelist"), form)
    assert [(entry.who, entry.change) for entry in told()] == [("user admin", "cancelled")]


def _queued_rows() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM django_q_ormq")
        return [pk for (pk,) in cursor.fetchall()]


def test_a_client_that_cancels_is_named_with_its_address(
    client_with_token: tuple[Client, str], make_execution: MakeExecution
) -> None:
    execution = make_execution(client=client_with_token[0], status=Status.RUNNING)
    path = f"/executions/{execution.pk}/cancel"
    assert api(path, method="post").status_code == 202
    assert api(path, method="post").status_code == 202  # it has been asked for already
    (entry,) = told()
    assert (entry.who, entry.where, entry.url) == ("client ragflow", "127.0.0.1", f"/api/v1{path}")


def test_an_execution_that_has_ended_is_not_recorded_as_cancelled(browser: Browser, execution: Execution) -> None:
    browser.post(reverse("admin:executions_execution_cancel", args=[execution.pk]))
    assert told() == []


def test_without_a_record_nothing_is_cancelled(
    make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch, rf: Any
) -> None:
    def fail(*_: object) -> None:
        raise ProgrammingError("permission denied")

    execution = make_execution(status=Status.QUEUED)
    monkeypatch.setattr(acts.record, "_answer", fail)
    with pytest.raises(ProgrammingError):
        services.cancel(execution.pk, outcome=Outcome.CANCEL_REQUESTED, http=rf.post("/"))
    execution.refresh_from_db()
    assert execution.status == Status.QUEUED


def test_a_killed_warm_sandbox(browser: Browser, python_runtime: Runtime) -> None:
    row = sandbox(python_runtime, SandboxState.READY)
    browser.post(POOL, {"action": "kill", "sandbox": row.pk, "confirmed": "yes"})
    (entry,) = told()
    assert (entry.who, entry.what, entry.change) == ("user admin", "sandbox abc", "killed")
    assert entry.changes["state"] == ("ready", None)


def test_a_killed_sandbox_with_an_execution_says_whose(
    browser: Browser, client_with_token: tuple[Client, str], make_execution: MakeExecution, python_runtime: Runtime
) -> None:
    execution = make_execution(client=client_with_token[0], status=Status.RUNNING)
    row = sandbox(python_runtime, SandboxState.CLAIMED, execution_id=execution.pk)
    browser.post(POOL, {"action": "kill", "sandbox": row.pk, "confirmed": "yes"})
    assert [(entry.change, entry.behalf) for entry in told()] == [
        ("cancelled", "client ragflow"),
        ("killed", "client ragflow"),
    ]


def test_a_drained_pool(browser: Browser, python_runtime: Runtime) -> None:
    sandbox(python_runtime, SandboxState.READY)
    browser.post(POOL, {"action": "drain", "runtime": python_runtime.pk, "confirmed": "yes"})
    (entry,) = told()
    assert (entry.what, entry.change) == ("pool of runtime python", "drained")
    assert entry.changes["warm sandboxes"] == (1, None)


def test_an_export_of_executions(browser: Browser, execution: Execution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "close", lambda: None)  # it is the test's
    address = reverse("admin:executions_execution_export", args=["csv"])
    b"".join(browser.get(address, {"status__exact": "failed"}))  # type: ignore[call-overload]
    (entry,) = told()
    assert (entry.who, entry.what, entry.change) == ("user admin", "executions", "exported")
    assert entry.changes["status__exact"] == (None, "failed")


def test_an_export_by_the_api(client_with_token: tuple[Client, str]) -> None:
    assert api("/executions/export?fields=id,code").status_code == 200
    (entry,) = told()
    assert (entry.who, entry.changes["columns"]) == ("client ragflow", (None, "id, code"))


def test_an_export_of_the_trail_itself(browser: Browser, auditor: str) -> None:
    browser.get(reverse("admin:audit_trailentry_export", args=["jsonl"]))
    api("/audit-trail/export", "t" * 40)
    assert [(entry.who, entry.what) for entry in told()] == [
        ("user admin", "audit trail"),
        ("client auditor", "audit trail"),
    ]


@pytest.mark.parametrize(("field", "bytes_"), [("code", 8), ("stdout", 2)])
def test_downloaded_code_and_output(
    browser: Browser, make_execution: MakeExecution, field: str, bytes_: int
) -> None:
    execution = make_execution(code="print(1)", stdout="1\n")
    browser.get(reverse("admin:executions_execution_text", args=[execution.pk, field]))
    (entry,) = told()
    assert entry.what == f"{field} of execution {execution.pk}"
    assert (entry.change, entry.changes["bytes"]) == ("downloaded", (None, bytes_))


def test_a_downloaded_file(browser: Browser, execution: Execution) -> None:
    artifact = execution.artifacts.get()
    browser.get(reverse("admin:executions_execution_artifact", args=[execution.pk, artifact.pk]))
    (entry,) = told()
    assert (entry.what, entry.behalf) == (f"artifact plot.png of execution {execution.pk}", "client ragflow")


def test_a_client_s_download_of_another_one_s_file(execution: Execution, auditor: str) -> None:
    path = f"/executions/{execution.pk}/artifacts/plot.png"
    assert api(path).status_code == 200  # its own: the answer to its request
    assert told() == []
    assert api(path, "t" * 40).status_code == 200
    assert [(entry.who, entry.behalf) for entry in told()] == [("client auditor", "client ragflow")]


def test_a_client_s_look_at_another_one_s_code_and_output(execution: Execution, auditor: str) -> None:
    assert api(f"/executions/{execution.pk}", auditor).status_code == 200
    (act,) = told()
    assert (act.change, act.who) == (Kind.DOWNLOADED, "client auditor")
    assert act.what == f"code and output of execution {execution.pk}"
    assert act.behalf == execution.behalf


@pytest.mark.parametrize(
    ("query", "columns"), [("?fields=id,stdout,code", "stdout, code"), ("?fields=id,status", "")]
)
def test_a_page_of_all_clients_with_code_or_output(
    execution: Execution, auditor: str, query: str, columns: str
) -> None:
    assert api(f"/executions{query}", auditor).status_code == 200
    assert [act.changes["columns"][1] for act in told()] == ([columns] if columns else [])


def test_what_a_client_reads_of_its_own_is_no_news(execution: Execution) -> None:
    one = f"/executions/{execution.pk}"
    for path in (one, "/executions?fields=id,stdout", f"{one}/artifacts/plot.png"):
        assert api(path).status_code == 200
    assert told() == []


def test_a_run_of_the_doctor_in_the_console(browser: Browser) -> None:
    browser.post(reverse("admin:doctor"))
    (entry,) = told()
    assert (entry.who, entry.change) == ("user admin", "checked")
    assert queued()


def test_a_run_of_the_doctor_by_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox_platform.management.commands.doctor.run_all", lambda: iter(()))
    call_command("doctor")
    (entry,) = told()
    assert "sandbox-platform" in entry.who  # the command and its user


def test_the_list_has_the_words_and_finds_them(browser: Browser, make_execution: MakeExecution) -> None:
    acts.done(Kind.KILLED, "sandbox abc", 1, before={"state": "ready"})
    acts.done(Kind.EXPORTED, "executions")
    page = words(browser.get(TRAIL, {"change": "killed"}).content.decode())
    assert "sandbox abc killed state" in page
    assert "executions exported" not in page
    assert "sandbox abc" in words(browser.get(TRAIL, {"q": "sandbox abc"}).content.decode())


def test_exports_have_acts_with_their_values(browser: Browser) -> None:
    acts.done(Kind.KILLED, "sandbox abc", 1, behalf="client x", before={"state": "ready"}, after={"state": "used"})
    address = reverse("admin:audit_trailentry_export", args=["jsonl"])
    content = b"".join(browser.get(address, {"change": "killed"}))  # type: ignore[call-overload]
    line = json.loads(content)
    assert (line["object"], line["change"], line["on_behalf_of"]) == ("sandbox abc", "killed", "client x")
    assert line["columns"]["state"] == {"before": "ready", "after": "used"}


def test_it_is_sealed() -> None:
    acts.done(Kind.KILLED, "sandbox abc", 1)
    sealing.seal()
    assert Leaf.objects.filter(source=ActEvent._meta.db_table).count() == 1
    assert list(verify()) == []


@pytest.mark.parametrize("table", ["audit_act", "audit_actevent"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET name = ''", "DELETE FROM {}"])
def test_it_only_grows(table: str, statement: str) -> None:
    acts.done(Kind.KILLED, "sandbox abc")
    with pytest.raises(Exception, match="Cannot update or delete"), connection.cursor() as cursor:
        cursor.execute(statement.format(table))
