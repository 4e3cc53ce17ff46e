from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from rest_framework.test import APIClient

from clients.models import Client
from executions.failures.grouping import group_failures
from executions.failures.models import FailureGroup
from executions.models import Execution, Outcome, Status
from tests.api.v1.conftest import API

TRACE = 'Traceback (most recent call last):\n  File "/workspace/main.py", line 2, in main\n{}\n'
Fail = Callable[..., Execution]


@pytest.fixture
def fail(make_execution: Callable[..., Execution], client_row: Client) -> Fail:
    def fail(error: str, client: Client = client_row, **given: Any) -> Execution:
        plain = {"status": Status.FAILED, "outcome": Outcome.NONZERO_EXIT, "exit_code": 1, "client": client}
        execution = make_execution(**plain | {"stderr": TRACE.format(error)} | given)
        group_failures()
        return execution

    return fail


def titles(api: APIClient, **query: Any) -> list[str]:
    response = api.get(f"{API}/failures", query)
    assert response.status_code == 200, response.content
    return [row["title"] for row in response.json()["results"]]


def test_a_client_sees_the_failures_of_its_own_runs(
    api: APIClient, stranger: APIClient, root: APIClient, fail: Fail
) -> None:
    fail("MineError: x")
    fail("TheirError: x", client=Client.objects.get(name="stranger"))
    assert titles(api) == ["MineError"]
    assert titles(stranger) == ["TheirError"]
    assert titles(root) == ["TheirError", "MineError"]
    assert titles(api, client="stranger") == []
    assert titles(root, client="stranger") == ["TheirError"]


def test_what_a_failure_tells(api: APIClient, fail: Fail) -> None:
    fail("ValueError: bad 1")
    latest = fail("ValueError: bad 2")
    (row,) = api.get(f"{API}/failures").json()["results"]
    assert row.pop("first_at") <= row.pop("last_at")
    assert row == {
        "id": str(FailureGroup.objects.get().pk), "client": "ragflow", "runtime": "python", "kind": "exception",
        "title": "ValueError", "message": "bad <n>", "place": "main.py in main", "count": 2,
        "latest_execution": str(latest.pk), "latest_url": f"/api/v1/executions/{latest.pk}",
    }  # fmt: skip


def test_runs_of_a_failure(api: APIClient, stranger: APIClient, fail: Fail) -> None:
    wanted = fail("ValueError: bad 1")
    fail("KeyError: x")
    query = {"failure": FailureGroup.objects.get(title="ValueError").pk}
    assert [row["id"] for row in api.get(f"{API}/executions", query).json()["results"]] == [str(wanted.pk)]
    assert stranger.get(f"{API}/executions", query).json()["results"] == []


@pytest.mark.parametrize("ordering", ["-last_at", "last_at", "-first_at", "first_at", "-count", "count"])
def test_pages_have_each_failure_once(api: APIClient, fail: Fail, ordering: str) -> None:
    for name, times in (("A", 2), ("B", 1), ("C", 1), ("D", 3), ("E", 1)):
        for _ in range(times):
            fail(f"{name}Error: x")
    found, query = [], {"ordering": ordering, "limit": "2"}
    while query:
        page = api.get(f"{API}/failures", query).json()
        found += [row["title"] for row in page["results"]]
        following = parse_qs(urlsplit(page["next"] or "").query)
        query = {name: values[0] for name, values in following.items()}
    assert sorted(found) == ["AError", "BError", "CError", "DError", "EError"]
    assert found == titles(api, ordering=ordering)


def test_filters(api: APIClient, fail: Fail) -> None:
    fail("ValueError: x")
    fail("", status=Status.TIMED_OUT, outcome=Outcome.WALL_TIME)
    assert titles(api, kind="time") == ["Wall time limit"]
    assert titles(api, runtime="nodejs") == []
    assert titles(api, seen_after="2100-01-01T00:00:00Z") == []
    assert titles(api, first_after="2020-01-01T00:00:00Z", kind="exception") == ["ValueError"]


@pytest.mark.parametrize(
    ("query", "field"),
    [({"kind": "none"}, "kind"), ({"limit": 0}, "limit"), ({"cursor": "x"}, "cursor"), ({"sort": "x"}, "sort"),
     ({"cursor": "WyItY291bnQiLDEsIngiXQ"}, "cursor"), ({"seen_after": "then"}, "seen_after")],
)  # fmt: skip
def test_what_is_wrong_is_named(api: APIClient, query: dict[str, Any], field: str) -> None:
    response = api.get(f"{API}/failures", query)
    assert (response.status_code, response.json()["field"]) == (422, field)


def test_without_a_token_nothing_is_shown(api: APIClient) -> None:
    assert APIClient().get(f"{API}/failures").status_code == 401
