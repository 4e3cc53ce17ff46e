"""`q` of lists and exports: what a search finds, as pages."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from clients.models import Client
from executions import pages
from executions.models import Execution, Status
from tests.api.conforming import ConformingClient
from tests.api.v1.conftest import API
from tests.api.v1.test_listing import ids
from tests.api.v1.test_listing import pages as pages_of

pytestmark = pytest.mark.django_db
Mine = Callable[..., Execution]


@pytest.fixture(autouse=True)
def time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "BUDGET_S", 60)
    monkeypatch.setattr(pages, "SORT_BUDGET_S", 60)


@pytest.fixture
def apples(mine: Mine) -> list[str]:
    """Newest first."""
    now = timezone.now()
    return [str(mine(code="apple", queued_at=now - timedelta(hours=3**i), cpu_ms=i % 3).pk) for i in range(9)]


@pytest.mark.parametrize("limit", [1, 2, 8, 9, 50])
@pytest.mark.parametrize("ordering", ["queued_at", "-queued_at"])
def test_pages_of_a_search_hold_each_row_once_and_in_order(
    api: APIClient, mine: Mine, apples: list[str], limit: int, ordering: str
) -> None:
    mine()
    wanted = apples if ordering.startswith("-") else apples[::-1]
    assert pages_of(api, f"?q=apple&limit={limit}&ordering={ordering}") == wanted


def test_last_page_of_a_search_is_the_last(api: APIClient, apples: list[str]) -> None:
    assert api.get(f"{API}/executions?q=apple&limit=9").json()["next"] is None


@pytest.mark.parametrize("ordering", ["queued_at", "-queued_at"])
def test_search_that_takes_long_goes_on_at_next(
    api: APIClient, apples: list[str], monkeypatch: pytest.MonkeyPatch, ordering: str
) -> None:
    monkeypatch.setattr(pages, "BUDGET_S", -1)
    first = api.get(f"{API}/executions?q=apple&ordering={ordering}").json()
    assert len(first["results"]) < 9
    assert first["next"]
    wanted = apples if ordering.startswith("-") else apples[::-1]
    assert pages_of(api, f"?q=apple&ordering={ordering}") == wanted


def test_what_is_found_can_be_sorted(api: APIClient, apples: list[str]) -> None:
    cpu = {pk: i % 3 for i, pk in enumerate(apples)}
    wanted = sorted(apples, key=lambda pk: (cpu[pk], pk))
    assert pages_of(api, "?q=apple&ordering=cpu_ms&limit=4") == wanted


def test_too_much_to_sort_is_refused(api: APIClient, apples: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_SORTED", 2)
    answer = api.get(f"{API}/executions?q=apple&ordering=-duration")
    assert (answer.status_code, answer.json()["field"]) == (422, "ordering")
    assert "queued_after" in answer.json()["remedy"]


@pytest.mark.parametrize(("query", "wanted"), [("queued_after", slice(0, 5)), ("queued_before", slice(5, 9))])
def test_search_keeps_to_the_time(api: APIClient, apples: list[str], query: str, wanted: slice) -> None:
    at = timezone.now() - timedelta(hours=3**4.5)
    assert ids(api, f"?q=apple&{query}={at:%Y-%m-%dT%H:%M:%SZ}") == apples[wanted]


def test_search_keeps_to_the_other_filters(api: APIClient, mine: Mine, apples: list[str]) -> None:
    failed = mine(code="apple", status=Status.FAILED, outcome="nonzero_exit", labels={"a": "b"})
    assert ids(api, "?q=apple&status=failed") == [str(failed.pk)]
    assert ids(api, "?q=apple&label=a:b") == [str(failed.pk)]


def test_search_finds_only_the_callers_own(api: APIClient, stranger: APIClient, apples: list[str]) -> None:
    assert ids(stranger, "?q=apple") == []


def test_auditor_searches_everything(api: APIClient, apples: list[str]) -> None:
    _, token = Client.objects.create_with_token("auditor", role="auditor")
    assert ids(ConformingClient(headers={"Authorization": f"Bearer {token}"}), "?q=apple") == apples


def test_search_of_an_empty_history_finds_nothing(api: APIClient) -> None:
    assert ids(api, "?q=apple") == []


@pytest.mark.django_db(transaction=True)
def test_export_is_of_what_was_found(api: APIClient, mine: Mine, apples: list[str]) -> None:
    mine()
    answer: Any = api.get(f"{API}/executions/export?format=jsonl&q=apple&fields=id,code")
    lines = b"".join(answer.streaming_content).decode().splitlines()
    assert [json.loads(line)["id"] for line in lines] == apples
