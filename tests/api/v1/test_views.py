"""Looking at an execution, cancelling it, its artifacts; batches, catalogue and figures."""

import csv
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ
from rest_framework.test import APIClient

from clients.models import Client, Role
from executions import services, waiting
from executions.forms import WaitingForm
from executions.models import Artifact, Execution, Outcome, Status
from executions.verdict import Verdict
from redaction import services as redaction
from tests.api.conforming import ConformingClient
from tests.api.v1.conftest import API

pytestmark = pytest.mark.django_db
Mine = Callable[..., Execution]


def bytes_of(answer: Any) -> bytes:
    return b"".join(part if isinstance(part, bytes) else part.encode() for part in answer.streaming_content)


# -- cancel -------------------------------------------------------------------------------------------------


def test_queued_execution_that_is_cancelled_never_starts(api: APIClient, submit: Callable[..., Any]) -> None:
    answer = api.post(submit()["Location"] + "/cancel")
    row = answer.json()
    assert (answer.status_code, row["status"], row["outcome"]) == (200, "cancelled", "cancel_requested")


def test_running_execution_is_marked_for_the_keeper(api: APIClient, mine: Mine) -> None:
    row = mine(status=Status.RUNNING)
    answer = api.post(f"{API}/executions/{row.pk}/cancel")
    row.refresh_from_db()
    assert (answer.status_code, row.status, row.cancel_outcome) == (202, "running", Outcome.CANCEL_REQUESTED)


def test_ended_execution_cannot_be_cancelled(api: APIClient, mine: Mine) -> None:
    answer = api.post(f"{API}/executions/{mine().pk}/cancel")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:sandbox-platform:problem:already_ended")


def test_strangers_execution_cannot_be_cancelled(stranger: APIClient, mine: Mine) -> None:
    row = mine(status=Status.RUNNING)
    assert stranger.post(f"{API}/executions/{row.pk}/cancel").status_code == 404
    row.refresh_from_db()
    assert row.cancel_requested_at is None


# -- wait ---------------------------------------------------------------------------------------------------


PATIENCE_S = 30


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Only a notification ends a wait before its time is over: nobody looks by himself."""
    monkeypatch.setattr(waiting, "LOOK_AGAIN_S", 600.0)
    began = time.monotonic()
    yield
    assert time.monotonic() - began < PATIENCE_S, "the wait ran out"


@pytest.mark.django_db(transaction=True)
def test_wait_ends_with_the_execution(api: APIClient, submit: Callable[..., Any], woken: None) -> None:
    path = submit()["Location"]
    row = Execution.objects.get()
    done = Verdict(Status.SUCCEEDED, Outcome.COMPLETED, exit_code=0)
    timer = threading.Timer(0.3, lambda: services.finish(row.pk, done))
    timer.start()
    answer = api.get(f"{path}?wait={PATIENCE_S}")
    timer.join()
    assert answer.json()["status"] == "succeeded"


@pytest.mark.django_db(transaction=True)
def test_wait_that_runs_out_is_202(submit: Callable[..., Any]) -> None:
    assert submit(wait=0.05).status_code == 202


@pytest.mark.django_db(transaction=True)
def test_wait_for_a_batch_ends_with_its_last(api: APIClient, woken: None) -> None:
    one = {"runtime": "python", "code": ""}
    batch = api.post(f"{API}/batches", {"executions": [one, one]}, format="json").json()
    done = Verdict(Status.SUCCEEDED, Outcome.COMPLETED, exit_code=0)

    def finish() -> None:
        for row in batch["executions"]:
            services.finish(row["id"], done)

    timer = threading.Timer(0.3, finish)
    timer.start()
    answer = api.get(f"{API}/batches/{batch['id']}?wait={PATIENCE_S}").json()
    timer.join()
    assert (answer["finished"], answer["counts"]) == (True, {"succeeded": 2})


def test_wait_says_its_unit() -> None:
    assert "Seconds" in WaitingForm().fields["wait"].help_text


# -- artifacts ----------------------------------------------------------------------------------------------


@pytest.fixture
def with_artifacts(mine: Mine) -> Execution:
    row = mine(artifact_count=3)
    for name in ("a.png", "page.html", 'ü ".txt'):
        Artifact.objects.create(execution=row, name=name, content=b"<x>", size=3)
    return row


def test_artifacts_are_listed_with_their_type(api: APIClient, with_artifacts: Execution) -> None:
    listed = api.get(f"{API}/executions/{with_artifacts.pk}/artifacts").json()
    assert [a["content_type"] for a in listed] == [
        "image/png",
        "application/octet-stream",
        "text/plain; charset=utf-8",
    ]


def test_artifact_is_an_attachment_that_no_browser_shows(api: APIClient, with_artifacts: Execution) -> None:
    answer = api.get(f"{API}/executions/{with_artifacts.pk}/artifacts/page.html")
    assert (answer.content, answer["Content-Type"]) == (b"<x>", "application/octet-stream")
    assert answer["Content-Disposition"].startswith("attachment")
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_url_of_an_artifact_leads_to_it(api: APIClient, with_artifacts: Execution) -> None:
    url = api.get(f"{API}/executions/{with_artifacts.pk}/artifacts").json()[2]["url"]
    assert api.get(url).content == b"<x>"


def test_strangers_artifacts_are_not_there(stranger: APIClient, with_artifacts: Execution) -> None:
    assert stranger.get(f"{API}/executions/{with_artifacts.pk}/artifacts/a.png").status_code == 404


# -- export -------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_export_as_csv_holds_every_row(api: APIClient, mine: Mine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executions.export.CHUNK", 2)
    rows = [str(mine().pk) for _ in range(5)]
    answer = api.get(f"{API}/executions/export?fields=id,labels")
    table = list(csv.reader(io.StringIO(bytes_of(answer).decode())))
    assert table == [["id", "labels"], *([row, "{}"] for row in rows[::-1])]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_export_as_csv_holds_no_formula(api: APIClient, mine: Mine, text: str) -> None:
    mine(stdout=text)
    lines = bytes_of(api.get(f"{API}/executions/export?fields=stdout")).decode().splitlines()
    assert lines[1].strip('"').startswith("'")


@pytest.mark.django_db(transaction=True)
def test_export_as_json_lines_is_filtered(api: APIClient, mine: Mine) -> None:
    mine()
    mine(labels={"a": "b"}, stdout="é")
    answer = api.get(f"{API}/executions/export?format=jsonl&label=a:b&fields=labels,stdout,queued_at")
    (line,) = bytes_of(answer).decode().splitlines()
    assert json.loads(line)["stdout"] == "é"


# -- batches ------------------------------------------------------------------------------------------------


def test_batch_is_queued_as_a_whole(api: APIClient) -> None:
    one = {"runtime": "python", "code": "print(1)"}
    answer = api.post(f"{API}/batches", {"executions": [one] * 3}, format="json")
    assert (answer.status_code, answer.json()["counts"]) == (202, {"queued": 3})
    assert OrmQ.objects.count() == 3
    assert api.get(answer["Location"]).json() == answer.json()


def test_batch_has_the_order_in_which_it_was_sent(api: APIClient) -> None:
    sent = [{"runtime": "python", "code": "", "labels": {"number": str(number)}} for number in range(20)]
    answer = api.post(f"{API}/batches", {"executions": sent}, format="json").json()
    assert [row["labels"] for row in answer["executions"]] == [one["labels"] for one in sent]


def test_nothing_is_asked_of_postgres_after_a_batch_is_accepted(api: APIClient) -> None:
    """If it failed then, the answer would be an error, and the caller would send the batch again."""
    redaction.cache.forget()
    with CaptureQueriesContext(connection) as asked:
        answer = api.post(f"{API}/batches", {"executions": [{"runtime": "python", "code": ""}] * 2}, format="json")
    assert answer.status_code == 202
    # The audit sets who acts before each statement that may write.
    assert "RELEASE SAVEPOINT" in asked.captured_queries[-1]["sql"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"runtime": "cobol", "code": ""}, "executions[1].runtime"),
        ({"runtime": "python", "code": 1}, "executions[1].code"),
        (
            {"runtime": "python", "code": "", "limits": {"output_bytes": 2**39}},
            "executions[1].limits.output_bytes",
        ),
        ({"runtime": "python", "code": "", "wait": 1}, "executions[1].wait"),
        (1, "executions[1]"),
    ],
)
def test_batch_with_one_mistake_is_refused_as_a_whole(api: APIClient, wrong: Any, field: str) -> None:
    body = {"executions": [{"runtime": "python", "code": ""}, wrong]}
    answer = api.post(f"{API}/batches", body, format="json")
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert not Execution.objects.exists()


@pytest.mark.parametrize("count", [0, 1001])
def test_batch_of_a_wrong_size_is_refused(api: APIClient, count: int) -> None:
    body = {"executions": [{"runtime": "python", "code": ""}] * count}
    answer = api.post(f"{API}/batches", body, format="json")
    assert (answer.status_code, answer.json()["field"]) == (422, "executions")


def test_strangers_batch_is_not_there(api: APIClient, stranger: APIClient) -> None:
    body = {"executions": [{"runtime": "python", "code": ""}]}
    path = api.post(f"{API}/batches", body, format="json")["Location"]
    assert stranger.get(path).status_code == 404


# -- catalogue and figures ----------------------------------------------------------------------------------


def test_runtimes_come_with_their_limits(api: APIClient) -> None:
    (runtime,) = api.get(f"{API}/runtimes").json()
    assert (runtime["slug"], runtime["limits"]["wall_time_ms"]) == ("python", 10_000)


def test_runtime_is_found_by_its_alias(api: APIClient) -> None:
    assert api.get(f"{API}/runtimes/python3").json()["slug"] == "python"


def test_profiles_are_listed(api: APIClient) -> None:
    assert api.get(f"{API}/seccomp-profiles").status_code == 200


def test_stats_are_the_clients_own_last_day(api: APIClient, stranger: APIClient, mine: Mine) -> None:
    now = timezone.now()
    for seconds in (1, 2, 3):
        mine(started_at=now, ended_at=now + timedelta(seconds=seconds))
    mine(queued_at=now - timedelta(days=2))
    stats = api.get(f"{API}/stats").json()
    assert (stats["total"], stats["statuses"], stats["run_ms"]["p50"]) == (3, {"succeeded": 3}, 2000)
    assert stranger.get(f"{API}/stats").json()["run_ms"] == {"p50": None, "p95": None}


def test_stats_of_an_auditor_are_everybodys(api: APIClient, mine: Mine) -> None:
    _, token = Client.objects.create_with_token("auditor", role=Role.AUDITOR)
    now = timezone.now()
    mine(started_at=now, ended_at=now + timedelta(seconds=1))
    stats = ConformingClient(headers={"Authorization": f"Bearer {token}"}).get(f"{API}/stats").json()
    assert (stats["total"], stats["run_ms"]["p50"]) == (1, 1000)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_reference_is_served(api: APIClient, path: str) -> None:
    assert ConformingClient().get(path).status_code == 200
