import csv
import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client as Http
from django.utils import timezone
from rest_framework.test import APIClient

from audit.models.changes import ActEvent
from clients.models import Client, ClientStorage, Role
from executions import places
from executions.models import Execution
from runtimes.models import Runtime
from tests.api.conforming import ConformingClient
from tests.api.v1.conftest import API
from usage import figures, refusals
from usage.models import Price, Refusal, StoredSample
from usage.models.price import today

Mine = Callable[..., Execution]
USAGE = f"{API}/usage"


@pytest.fixture(autouse=True)
def nothing_refused() -> None:
    refusals._counts.clear()


def refused() -> list[tuple[str, int | None, int | None, int]]:
    refusals.flush()
    return [(row.kind, row.client_id, row.runtime_id, row.count) for row in Refusal.objects.order_by("kind")]


def results(api: APIClient, **query: str) -> list[dict[str, Any]]:
    answer = api.get(USAGE, query)
    assert answer.status_code == 200, answer.content
    return answer.json()["results"]


def test_a_client_reads_its_own_usage(api: APIClient, root: APIClient, stranger: APIClient, mine: Mine) -> None:
    now = timezone.now()
    mine(cpu_ms=250, started_at=now, ended_at=now + timedelta(seconds=2), peak_memory_bytes=1000)
    (row,) = results(api)
    assert (row["day"], row["client"], row["runtime"]) == (str(today()), "ragflow", "python")
    assert (row["runs"], row["cpu_ms"], row["memory_byte_seconds"], row["cost"]) == (1, 250, 2000, [])
    assert results(stranger) == []
    assert [row["client"] for row in results(root)] == ["ragflow"]
    assert results(root, client="stranger") == []


def test_a_client_does_not_read_anothers_usage(api: APIClient, root: APIClient) -> None:
    assert api.get(USAGE, {"client": "root"}).status_code == 403
    assert api.get(USAGE, {"client": "ragflow"}).status_code == 200


def test_an_auditor_reads_all(api: APIClient, mine: Mine) -> None:
    mine()
    _, token = Client.objects.create_with_token("auditor", role=Role.AUDITOR)
    auditor = ConformingClient(headers={"Authorization": f"Bearer {token}"})
    assert [row["client"] for row in results(auditor, group="client")] == ["ragflow"]


def test_callers_without_a_token_read_theirs(api: APIClient, mine: Mine, settings: Any) -> None:
    settings.RAGFLOW_ALLOW_UNAUTHENTICATED = True
    mine()
    mine(client=None)
    assert [row["runs"] for row in results(ConformingClient(), group="day")] == [1]


@pytest.mark.parametrize(
    "query, rows",
    [
        ({"group": "day"}, 2),
        ({"group": "client"}, 1),
        ({"group": "client", "from": "2026-01-01", "to": "2025-01-01"}, 0),
        ({"to": "0001-01-01"}, 0),
        ({"from": "0001-01-01", "to": "9999-12-31", "group": "client,runtime"}, 1),
    ],
)
def test_days_and_groups_are_chosen(api: APIClient, mine: Mine, query: dict[str, str], rows: int) -> None:
    mine()
    mine(queued_at=timezone.now() - timedelta(days=1))
    assert len(results(api, **query)) == rows


def test_the_last_day_is_included(api: APIClient, mine: Mine) -> None:
    mine()
    day = str(today())
    assert [row["runs"] for row in results(api, **{"from": day, "to": day})] == [1]


@pytest.mark.parametrize(
    "query, field, status",
    [
        ({"from": "soon"}, "from", 422),
        ({"group": "client,size"}, "group", 422),
        ({"format": "xml"}, "format", 422),
        ({"since": "2026-01-01"}, "since", 422),
        ({"runtime": "perl"}, "runtime", 404),
    ],
)
def test_a_wrong_parameter_is_named(api: APIClient, query: dict[str, str], field: str, status: int) -> None:
    answer = api.get(USAGE, query)
    assert (answer.status_code, answer.json()["field"]) == (status, field)


def test_an_unknown_client_is_named(root: APIClient) -> None:
    answer = root.get(USAGE, {"client": "nobody"})
    assert (answer.status_code, answer.json()["field"]) == (404, "client")


def test_too_many_rows_are_refused(api: APIClient, mine: Mine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MOST_ROWS", 0)
    mine()
    assert api.get(USAGE).json()["field"] == "group"


def test_csv_has_units_of_people(root: APIClient, client_row: Client, mine: Mine) -> None:
    now = timezone.now()
    mine(cpu_ms=250, started_at=now, ended_at=now + timedelta(seconds=3), peak_memory_bytes=2**30)
    Client.objects.filter(pk=client_row.pk).update(name="=cmd()", max_runs_per_day=4)
    StoredSample.objects.create(hour=now.replace(minute=0), client_id=client_row.pk, bytes=24 * 2**30)
    Price.objects.create(from_day=today(), currency="EUR", per_cpu_second=2)
    refusals.count(refusals.Kind.RATE, client_row.pk)
    refusals.flush()
    answer = root.get(USAGE, {"format": "csv", "group": "client"})
    assert answer["Content-Disposition"] == 'attachment; filename="usage.csv"'
    (row,) = csv.DictReader(io.StringIO(answer.getvalue().decode()))
    found = {
        name: row[name] for name in ("client", "runs", "cpu_seconds", "memory_gib_seconds", "stored_gib_days")
    }
    assert list(found.values()) == ["'=cmd()", "1", "0.25", "3.0", "1.0"]
    assert (row["refused"], row["refused_rate"], row["runs_per_day_quota"]) == ("1", "1", "4")
    assert row["cost_EUR"] == "0.500000"


def test_costs_are_exact_texts(api: APIClient, mine: Mine) -> None:
    mine()
    Price.objects.create(from_day=today(), currency="EUR", per_run="0.1")
    assert [row["cost"] for row in results(api)] == [[{"currency": "EUR", "amount": "0.100000"}]]


def test_an_export_is_in_the_trail(api: APIClient) -> None:
    api.get(USAGE, {"format": "csv"})
    event = ActEvent.objects.get()
    assert (event.kind, event.name, event.pgh_context["actor"]) == ("exported", "usage", "client ragflow")


def test_a_refusal_counts_for_client_and_runtime(
    submit: Callable[..., Any], client_row: Client, python_runtime: Runtime
) -> None:
    Client.objects.filter(pk=client_row.pk).update(max_runs_per_minute=1, max_memory_bytes=2**30)
    assert submit().status_code == 202
    for _ in range(2):
        assert submit().status_code == 429
    assert submit(limits={"memory_bytes": 2**40}).status_code == 422
    assert submit(code=7).status_code == 422
    Runtime.objects.update(enabled=False)
    assert submit().status_code == 409
    key = (client_row.pk, python_runtime.pk)
    assert refused() == [("limit", *key, 1), ("rate", *key, 2), ("runtime_disabled", *key, 1)]


def test_a_refused_batch_is_one_refusal(api: APIClient, client_row: Client, python_runtime: Runtime) -> None:
    Client.objects.filter(pk=client_row.pk).update(max_runs_per_day=1)
    batch = {"executions": [{"runtime": "python", "code": "1"}] * 2}
    assert api.post(f"{API}/batches", batch, format="json").status_code == 422
    assert refused() == [("batch", client_row.pk, python_runtime.pk, 1)]


def test_a_role_that_may_not_run_is_refused(api: APIClient, client_row: Client) -> None:
    Client.objects.filter(pk=client_row.pk).update(role=Role.AUDITOR)
    assert api.post(f"{API}/executions", {}, format="json").status_code == 403
    assert refused() == [("role", client_row.pk, None, 1)]


def test_a_wrong_token_counts_for_nobody_and_a_revoked_one_for_its_client(
    api: APIClient, client_row: Client
) -> None:
    assert ConformingClient(headers={"Authorization": "Bearer wrong"}).get(USAGE).status_code == 401
    client_row.tokens.get().revoke()
    assert api.get(USAGE).status_code == 401
    assert sorted(refused(), key=str) == sorted(
        [("token", None, None, 1), ("token", client_row.pk, None, 1)], key=str
    )


def test_refusals_of_ragflows_endpoint_count(
    api: APIClient, client_row: Client, python_runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    http = Http(headers={"Authorization": "Bearer the-token-of-the-test-client"})
    run = {"language": "python", "code_b64": "cHJpbnQoMSk="}

    def status() -> int:
        return http.post("/run", run, content_type="application/json").status_code

    Client.objects.filter(pk=client_row.pk).update(max_stored_bytes=1)
    ClientStorage.objects.create(client=client_row, bytes=5)
    assert status() == 429
    Client.objects.filter(pk=client_row.pk).update(max_stored_bytes=0, allowed_runtimes=["other"])
    assert status() == 403
    monkeypatch.setattr(places, "waits", places.Places(1, share=1))
    assert places.waits.take(None)
    assert status() == 429
    client_row.tokens.get().revoke()
    assert status() == 401
    key = (client_row.pk, python_runtime.pk)
    assert refused() == [
        ("places", *key, 1), ("runtime_not_allowed", *key, 1), ("storage", *key, 1),
        ("token", client_row.pk, None, 1),
    ]  # fmt: skip
