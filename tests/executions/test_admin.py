import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from executions.admin.detail import lines_of
from executions.admin.paginator import EstimatingPaginator
from executions.models import Artifact, Execution, InputFile, Outcome, Status
from sandboxes.models import Sandbox, SandboxState
from tests.conftest import Visitor
from tests.pages import words

MakeExecution = Callable[..., Execution]
LIST = reverse("admin:executions_execution_changelist")
SCRIPT = "<script>alert(1)</script>"


def page(execution: Execution) -> str:
    return reverse("admin:executions_execution_change", args=[execution.pk])


def html_of(browser: Browser, url: str, **query: str) -> str:
    response = browser.get(url, query)
    assert response.status_code == 200
    return response.content.decode()


@pytest.fixture
def artifact(make_execution: MakeExecution) -> Artifact:
    name = 'a "<b>\r\nplot.html'
    return Artifact.objects.create(execution=make_execution(), name=name, content=SCRIPT.encode(), size=25)


def artifact_url(artifact: Artifact) -> str:
    return reverse("admin:executions_execution_artifact", args=[artifact.execution_id, artifact.pk])


# --- Executions: list ---


@pytest.mark.parametrize("status", Status)
def test_list_shows_every_status(browser: Browser, make_execution: MakeExecution, status: Status) -> None:
    make_execution(status=status)
    assert f'<span class="status status-{status}">{status.label}</span>' in html_of(browser, LIST)


@pytest.mark.parametrize(
    "query",
    [
        {"status__exact": "failed"},
        {"outcome__exact": "nonzero_exit"},
        {"endpoint": "other"},
        {"q": "needle"},
        {"q": "Needle in stdout"},
    ],
)
def test_list_finds(browser: Browser, make_execution: MakeExecution, query: dict[str, str]) -> None:
    make_execution()
    wanted = make_execution(
        status=Status.FAILED,
        outcome=Outcome.NONZERO_EXIT,
        endpoint="other",
        code="needle",
        stdout="a needle in stdout",
    )
    html = html_of(browser, LIST, **query)
    assert str(wanted.pk) in html
    assert "1 result" in html or "1 execution" in html


def test_list_finds_id_by_primary_key(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution()
    wanted = make_execution()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        html = html_of(browser, LIST, q=f" {wanted.pk} ")
    assert str(wanted.pk) in html
    assert not any("UPPER" in query["sql"] for query in queries)


def test_list_reads_no_large_column(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution()
    with CaptureQueriesContext(connection) as queries:
        html_of(browser, LIST)
    assert not any('"executions_execution"."stdout"' in query["sql"] for query in queries)


def test_list_takes_the_same_number_of_queries_for_many(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution()
    with CaptureQueriesContext(connection) as one:
        html_of(browser, LIST)
    for _ in range(5):
        make_execution()
    with CaptureQueriesContext(connection) as many:
        html_of(browser, LIST)
    assert len(many) == len(one)


def test_paginator_counts_a_small_table(make_execution: MakeExecution) -> None:
    make_execution()
    assert EstimatingPaginator(Execution.objects.all(), 50).count == 1


def test_paginator_stops_counting(make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EstimatingPaginator, "COUNTED", 2)
    for _ in range(4):
        make_execution()
    assert EstimatingPaginator(Execution.objects.filter(mode="function"), 50).count == 2


def test_paginator_estimates_a_large_table(make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EstimatingPaginator, "COUNTED", 2)
    for _ in range(4):
        make_execution()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE executions_execution")
    assert EstimatingPaginator(Execution.objects.all(), 50).count == 4


# --- Executions: detail ---


def test_detail_escapes_what_strangers_wrote(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution(
        code=SCRIPT,
        arguments=SCRIPT,
        stdin=SCRIPT,
        argv=[SCRIPT],
        stdout=SCRIPT,
        stderr=SCRIPT,
        result=SCRIPT,
        message=SCRIPT,
        environment={SCRIPT: SCRIPT},
        policy_violations=[{"rule": SCRIPT, "line": 1, "message": SCRIPT}],
        image_id=SCRIPT,
        node=SCRIPT,
    )
    Artifact.objects.create(execution=execution, name=SCRIPT, content=b"", size=0)
    assert SCRIPT not in html_of(browser, page(execution))


def test_list_escapes_what_strangers_wrote(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution(endpoint=SCRIPT[:20])
    assert "<script>alert" not in html_of(browser, LIST)


def test_detail_shows_phases_with_their_units(browser: Browser, make_execution: MakeExecution) -> None:
    start = timezone.now()
    times = {
        name: start + timedelta(milliseconds=after)
        for name, after in (
            ("queued_at", 0),
            ("claimed_at", 5),
            ("sandbox_at", 8),
            ("started_at", 10),
            ("ended_at", 1010),
            ("finished_at", 1014.5),
        )
    }
    shown = words(html_of(browser, page(make_execution(**times))))
    for phase, spent in (
        ("Queue until a worker claimed it", "5 ms"),
        ("Claim until it had a sandbox; longer for a cold start", "3 ms"),
        ("Sandbox until the job was sent", "2 ms"),
        ("Run the program", "1 s"),
        ("Store until result and artifacts were stored", "4.5 ms"),
        ("Total", "1.01 s"),
    ):
        assert f"{phase} {spent}" in shown


def test_detail_shows_memory_against_its_limit(browser: Browser, make_execution: MakeExecution) -> None:
    html = html_of(browser, page(make_execution(peak_memory_bytes=64 * 1024**2)))
    assert '<td class="number">64 MiB</td><td class="number">256 MiB</td>' in html
    assert "width: 25.0%" in html


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
def test_detail_of_an_open_execution_loads(
    browser: Browser, make_execution: MakeExecution, status: Status
) -> None:
    assert "not finished" in html_of(browser, page(make_execution(status=status)))


def test_detail_shows_the_end_of_long_output_and_offers_it_whole(
    browser: Browser, make_execution: MakeExecution
) -> None:
    text = "".join(f"{number:0100}\n" for number in range(2000))
    execution = make_execution(stdout=text)
    html = html_of(browser, page(execution))
    assert "2,000 lines, 197.27 KiB." in words(html)
    begin, _, end = html.partition('id="stdout"')
    assert f"{1999:0100}" in end and f"{1980:0100}" in end and f"{1979:0100}" not in end
    assert "The 1,980 lines before" in begin and f"{0:0100}" in begin and f"{1979:0100}" not in begin
    assert "99,980 characters are left out here" in words(begin)
    url = reverse("admin:executions_execution_text", args=[execution.pk, "stdout"])
    assert url in html
    assert browser.get(url).content.decode() == text


@pytest.mark.parametrize("text, lines", [("", 0), ("x", 1), ("x\n", 1), ("x\ny", 2), ("\n\n", 2)])
def test_lines_are_counted_as_people_count_them(text: str, lines: int) -> None:
    assert lines_of(text) == lines


@pytest.mark.parametrize("result", [["x" * 5_000_000], ["y" * 999] * 5_000, {"a" * 100_000: list(range(1500))}])
def test_a_result_of_megabytes_makes_a_small_page(
    browser: Browser, make_execution: MakeExecution, result: Any
) -> None:
    execution = make_execution(result=json.dumps(result))
    html = html_of(browser, page(execution))
    assert len(html) < 1_000_000
    url = reverse("admin:executions_execution_text", args=[execution.pk, "result"])
    assert html.count(url) == 2  # beside the result, and among the downloads
    assert json.loads(browser.get(url).content) == result


def test_detail_says_that_output_was_cut(browser: Browser, make_execution: MakeExecution) -> None:
    assert "Truncated at the output limit" in html_of(
        browser, page(make_execution(stdout="x", stdout_truncated=True))
    )


# --- Executions: nobody changes history ---


def test_nothing_can_be_added(browser: Browser) -> None:
    assert browser.get(reverse("admin:executions_execution_add")).status_code == 403


def test_nothing_can_be_changed(browser: Browser, make_execution: MakeExecution) -> None:
    assert browser.post(page(make_execution()), {"stdout": "x"}).status_code == 403


def test_nothing_can_be_deleted(browser: Browser, make_execution: MakeExecution) -> None:
    url = reverse("admin:executions_execution_delete", args=[make_execution().pk])
    assert browser.post(url, {"post": "yes"}).status_code == 403


# --- Downloads ---


def test_artifact_is_an_attachment_whatever_it_is(browser: Browser, artifact: Artifact) -> None:
    response = browser.get(artifact_url(artifact))
    assert response.content == SCRIPT.encode()
    assert response["Content-Type"] == "application/octet-stream"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Disposition"] == 'attachment; filename="a \\"<b>__plot.html"'


def test_artifact_of_another_execution_is_not_found(
    browser: Browser, artifact: Artifact, make_execution: MakeExecution
) -> None:
    url = reverse("admin:executions_execution_artifact", args=[make_execution().pk, artifact.pk])
    assert browser.get(url).status_code == 404


def test_an_auditor_opens_the_input_files_of_a_run(visitor: Visitor, make_execution: MakeExecution) -> None:
    execution = make_execution(input_count=2)
    for name, content in (("data/in.csv", b"a,b\n1,2\n"), ("blob.bin", b"\0\1")):
        InputFile.objects.create(execution=execution, path=name, content=content)
    auditor = visitor("auditor")
    html = html_of(auditor, page(execution))
    csv, blob = (
        reverse("admin:executions_execution_input", args=[execution.pk, file.pk])
        for file in execution.input_files.all()
    )
    assert f'<a href="{csv}">data/in.csv</a> <span class="note">8 bytes</span>' in html
    assert f'data-src="{csv}preview/"' in html and f"{blob}preview/" not in html
    assert auditor.get(blob).content == b"\0\1"
    assert auditor.get(csv)["Content-Disposition"] == 'attachment; filename="data_in.csv"'
    assert b"<td>2</td>" in auditor.get(f"{csv}preview/").content


def test_an_input_file_of_another_execution_is_not_found(browser: Browser, make_execution: MakeExecution) -> None:
    file = InputFile.objects.create(execution=make_execution(input_count=1), path="x", content=b"x")
    url = reverse("admin:executions_execution_input", args=[make_execution().pk, file.pk])
    assert browser.get(url).status_code == 404


@pytest.mark.parametrize("field", ["limits", "worker_backend", "pk"])
def test_text_download_gives_texts_only(browser: Browser, make_execution: MakeExecution, field: str) -> None:
    url = reverse("admin:executions_execution_text", args=[make_execution().pk, field])
    assert browser.get(url).status_code == 403


def test_anonymous_visitor_is_sent_to_the_login(client: Browser, artifact: Artifact) -> None:
    assert client.get(artifact_url(artifact)).status_code == 302


@pytest.mark.parametrize(("may_view", "status"), [(False, 403), (True, 200)])
def test_staff_needs_the_permission_to_view(
    client: Browser, artifact: Artifact, may_view: bool, status: int
) -> None:
    user = User.objects.create_user("auditor", is_staff=True)
    if may_view:
        user.user_permissions.add(Permission.objects.get(codename="view_execution"))
    client.force_login(user)
    text = reverse("admin:executions_execution_text", args=[artifact.execution_id, "code"])
    for url in (LIST, page(artifact.execution), artifact_url(artifact), text):
        assert client.get(url).status_code == status


# --- Sandboxes ---


def test_sandboxes_are_listed_with_their_execution(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.RUNNING)
    sandbox = Sandbox.objects.create(
        container_id="abcdef0123456789",
        runtime=execution.runtime,
        runtime_revision=0,
        node="n",
        profile_sha256="",
        image_id="",
        state=SandboxState.CLAIMED,
        execution_id=execution.pk,
    )
    response = browser.get(reverse("admin:sandboxes_sandbox_changelist"))
    html = response.content.decode()
    assert "abcdef012345" in html
    assert page(execution) in html
    assert "0 (old)" in html
    assert browser.get(reverse("admin:sandboxes_sandbox_change", args=[sandbox.pk])).status_code == 200


def test_sandboxes_are_read_only(browser: Browser) -> None:
    assert browser.get(reverse("admin:sandboxes_sandbox_add")).status_code == 403


# --- The site ---


def test_overview_has_our_name(browser: Browser) -> None:
    assert "Sandbox Platform" in html_of(browser, reverse("admin:index"))


@pytest.mark.parametrize("model", ["ormq", "failure"])
def test_queue_pages_load(browser: Browser, model: str) -> None:
    html_of(browser, reverse(f"admin:django_q_{model}_changelist"))


@pytest.mark.parametrize("model", ["schedule", "success"])
def test_pages_that_call_any_function_are_gone(model: str) -> None:
    with pytest.raises(NoReverseMatch):
        reverse(f"admin:django_q_{model}_changelist")


def test_every_page_has_a_test() -> None:
    names = {model._meta.label for model in admin.site._registry}
    assert names == {
        "audit.PurgeRecord",
        "redaction.RedactionPattern",
        "audit.RetentionPolicy",
        "audit.Seal",
        "audit.TrailEntry",
        "audit.Verification",
        "auth.Group",
        "auth.User",
        "axes.AccessAttempt",
        "axes.AccessLog",
        "django_q.Failure",
        "django_q.OrmQ",
        "clients.Client",
        "callbacks.Delivery",
        "egress.EgressRule",
        "executions.Execution",
        "sandboxes.Sandbox",
        "clients.Token",
        "runtimes.Runtime",
        "builds.RuntimeBuild",
        "inspections.Inspection",
        "seccomp_profiles.SeccompProfile",
        "alerts.Alert",
        "alerts.Channel",
        "alerts.Notification",
        "alerts.Rule",
        "alerts.Silence",
        "failures.FailureGroup",
        "usage.Price",
        "usersessions.UserSession",
    }
