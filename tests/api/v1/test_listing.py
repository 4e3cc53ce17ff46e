from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.http import QueryDict
from django.utils import timezone
from rest_framework.test import APIClient

from api.v1.listing import ListForm
from clients.models import Client, Role
from executions import representation
from executions.listing import Order, filtered
from executions.models import Execution, Status
from executions.models.lookup import SEARCHED_CHARACTERS
from sandbox_platform.kit.fields import validated
from tests.api.conforming import ConformingClient
from tests.api.v1.conftest import API

pytestmark = pytest.mark.django_db
Mine = Callable[..., Execution]


def ids(api: APIClient, query: str = "") -> list[str]:
    answer = api.get(f"{API}/executions{query}")
    assert answer.status_code == 200, answer.json()
    return [row["id"] for row in answer.json()["results"]]


def pages(api: APIClient, query: str) -> list[str]:
    seen, path = [], f"{API}/executions{query}"
    while path:
        answer = api.get(path).json()
        seen += [row["id"] for row in answer["results"]]
        path = answer["next"]
    return seen


def test_newest_comes_first(api: APIClient, mine: Mine) -> None:
    rows = [str(mine().pk) for _ in range(3)]
    assert ids(api) == rows[::-1]


def test_client_sees_only_its_own(api: APIClient, stranger: APIClient, mine: Mine) -> None:
    row = mine()
    assert ids(stranger) == []
    assert stranger.get(f"{API}/executions/{row.pk}").status_code == 404


@pytest.mark.parametrize(
    "ordering", ["queued_at", "-queued_at", "duration", "-duration", "cpu_ms", "-peak_memory_bytes"]
)
def test_pages_hold_each_row_once_and_in_order(api: APIClient, mine: Mine, ordering: str) -> None:
    now = timezone.now()
    for ms in (3, 1, 1, None, 2):
        ended = None if ms is None else now + timedelta(milliseconds=ms)
        mine(started_at=now, ended_at=ended, cpu_ms=ms, peak_memory_bytes=ms)
    whole = ids(api, f"?ordering={ordering}")
    assert pages(api, f"?ordering={ordering}&limit=2") == whole
    assert len(set(whole)) == 5


def test_ordering_by_duration_is_by_duration(api: APIClient, mine: Mine) -> None:
    now = timezone.now()
    rows = [str(mine(started_at=now, ended_at=now + timedelta(seconds=s)).pk) for s in (2, 1, 3)]
    assert ids(api, "?ordering=duration") == [rows[1], rows[0], rows[2]]


FILTERS: dict[str, tuple[dict[str, Any], str]] = {
    "status": ({"status": Status.FAILED, "outcome": "nonzero_exit"}, "status=failed"),
    "outcome": ({"status": Status.FAILED, "outcome": "nonzero_exit"}, "outcome=nonzero_exit"),
    "label": ({"labels": {"canvas": "a:b", "x": "y"}}, "label=canvas:a:b"),
    "two labels": ({"labels": {"canvas": "demo", "x": "y"}}, "label=canvas:demo&label=x:y"),
    "memory": ({"peak_memory_bytes": 5}, "min_memory_bytes=5&max_memory_bytes=5"),
    "time": (
        {"queued_at": "2020-01-01T00:00Z", "id": UUID("016f5e66-e800-7000-8000-000000000001")},
        "queued_after=2020-01-01T00:00Z&queued_before=2020-01-02T00:00Z",
    ),
    "duration": (
        {"started_at": "2020-01-01T00:00:00Z", "ended_at": "2020-01-01T00:00:01Z"},
        "min_duration_ms=1000&max_duration_ms=1000",
    ),
    "code": ({"code": "print('grapefruit')"}, "q=grapefruit"),
    "output": ({"stdout": "a grapefruit salad"}, "q=%22grapefruit+salad%22"),
    "errors": ({"stderr": "KeyError: grapefruit"}, "q=keyerror+-banana"),
    "batch": ({"batch_id": "0199aaaa-0000-7000-8000-000000000000"}, "batch=0199aaaa-0000-7000-8000-000000000000"),
}


@pytest.mark.parametrize(("fields", "query"), FILTERS.values(), ids=FILTERS)
def test_filter_finds_the_one(api: APIClient, mine: Mine, fields: dict[str, Any], query: str) -> None:
    mine()
    wanted = mine(**fields)
    assert ids(api, f"?{query}") == [str(wanted.pk)]


def test_auditor_finds_what_is_of_one_client(api: APIClient, mine: Mine, make_execution: Mine) -> None:
    _, token = Client.objects.create_with_token("auditor", role=Role.AUDITOR)
    auditor = ConformingClient(headers={"Authorization": f"Bearer {token}"})
    wanted = mine()
    make_execution()
    assert ids(auditor, "?client=ragflow") == [str(wanted.pk)]
    assert ids(auditor, "?client=nobody") == []


def test_caller_finds_nothing_of_another_client(stranger: APIClient, mine: Mine) -> None:
    mine()
    assert ids(stranger, "?client=ragflow") == []


INDEXES = {
    "client=ragflow": "execution_of_client_idx",
    "label=a:b": "execution_labels_idx",
    "runtime=python": "execution_of_runtime_idx",
    "status=platform_error": "execution_of_status_idx",
    "outcome=memory": "execution_of_outcome_idx",
    "ordering=-duration": "execution_by_duration",
    "ordering=duration&queued_after=2020-01-01T00:00Z": "execution_by_duration",
    "ordering=-cpu_ms": "execution_by_cpu_ms",
    "ordering=-peak_memory_bytes": "execution_by_peak_memory_bytes",
}


@pytest.mark.parametrize(("query", "index"), INDEXES.items(), ids=INDEXES)
def test_list_walks_an_index_and_sorts_nothing(db: None, query: str, index: str) -> None:
    form = validated(ListForm, QueryDict(query))
    rows = Order(form["ordering"]).apply(filtered(Execution.objects.all(), form), None)
    with connection.cursor() as cursor:
        # So few rows are read faster without any index.
        cursor.execute("SET LOCAL enable_seqscan = off")
        # An index of labels is that of a set, which has no order: its rows are sorted.
        unwanted = "indexscan" if index == "execution_labels_idx" else "sort"
        cursor.execute(f"SET LOCAL enable_{unwanted} = off")
    plan = rows[:51].explain()
    assert index in plan
    assert "Sort" not in plan or index == "execution_labels_idx"


@pytest.mark.parametrize("query", ["min_duration_ms=0", "max_duration_ms=5"])
def test_unknown_duration_is_neither_long_nor_short(api: APIClient, mine: Mine, query: str) -> None:
    mine()
    assert ids(api, f"?{query}") == []


@pytest.mark.parametrize("word", ["é {} ", "a{}-b{}-c{} ", "http://h{}.example/p{}?q ", "{} "])
def test_huge_text_does_not_fail_the_row(api: APIClient, mine: Mine, word: str) -> None:
    count = word.count("{}")
    text = "".join(word.format(*[i] * count) for i in range(SEARCHED_CHARACTERS // 3))
    row = mine(code=text, stdout=text[::-1], stderr=text.upper(), stdin="x")
    assert Execution.objects.filter(pk=row.pk).exists()


def test_list_leaves_large_fields_out(api: APIClient, mine: Mine) -> None:
    mine()
    row = api.get(f"{API}/executions").json()["results"][0]
    assert set(row) == set(representation.SMALL)


def test_fields_are_those_asked_for(api: APIClient, mine: Mine) -> None:
    mine(result='{"a": [NaN, 1]}', arguments='{"x": NaN}')
    row = api.get(f"{API}/executions?fields=code,result,arguments").json()["results"][0]
    assert row == {"code": "def main(): return 1", "result": {"a": [None, 1]}, "arguments": {"x": None}}


def test_large_columns_are_not_read_for_a_list(api: APIClient, mine: Mine, django_assert_num_queries: Any) -> None:
    mine()
    api.get("/api/v1/me")  # the token's use is noted
    with django_assert_num_queries(2) as captured:
        api.get(f"{API}/executions")
    assert '"stdout"' not in captured.captured_queries[-1]["sql"].split("FROM")[0]


@pytest.mark.parametrize("bound", ["queued_after", "queued_before"])
@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
def test_the_first_and_the_last_time_there_is_are_times(api: APIClient, mine: Mine, bound: str, time: str) -> None:
    mine()
    assert len(ids(api, f"?{bound}={time}")) == (time.startswith("9") == (bound == "queued_before"))


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-12:00"])
def test_a_time_beyond_them_is_refused(api: APIClient, time: str) -> None:
    assert api.get(f"{API}/executions?queued_after={time}").status_code == 422
