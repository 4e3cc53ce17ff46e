import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from clients.models import Client
from executions.failures import admin
from executions.failures.grouping import group_failures
from executions.failures.models import FailureGroup
from executions.models import Execution, Outcome, Status
from tests.pages import cells, words

MakeExecution = Callable[..., Execution]
LIST = reverse("admin:failures_failuregroup_changelist")
HISTORY = reverse("admin:executions_execution_changelist")
TRACE = 'Traceback (most recent call last):\n  File "/workspace/main.py", line 2, in main\n{}\n'


@pytest.fixture
def fail(make_execution: MakeExecution) -> Callable[..., Execution]:
    def fail(error: str = "ValueError: bad 1", *, ago: timedelta = timedelta(0), **given: Any) -> Execution:
        at = timezone.now() - ago
        plain = {"status": Status.FAILED, "outcome": Outcome.NONZERO_EXIT, "exit_code": 1}
        times = {"queued_at": at, "finished_at": at}
        execution = make_execution(**plain | {"stderr": TRACE.format(error)} | times | given)
        group_failures()
        return execution

    return fail


Fail = Callable[..., Execution]


def listed(browser: Browser, **query: str) -> list[str]:
    response = browser.get(LIST, query)
    assert response.status_code == 200
    return [cell.split("Error")[0] + "Error" for cell in cells(response.content.decode(), "failure")]


def page_of(group: FailureGroup) -> str:
    return reverse("admin:failures_failuregroup_change", args=[group.pk])


def test_latest_failure_is_first(browser: Browser, fail: Fail) -> None:
    fail("OldError: x", ago=timedelta(days=2))
    fail("NewError: x")
    assert listed(browser) == ["NewError", "OldError"]


def test_failures_are_sorted_by_count_and_by_the_first(browser: Browser, fail: Fail) -> None:
    for _ in range(3):
        fail("OftenError: x", ago=timedelta(days=3))
    fail("RareError: x")
    assert listed(browser, o="-4") == ["OftenError", "RareError"]
    assert listed(browser, o="4") == ["RareError", "OftenError"]
    assert listed(browser, o="-6") == ["RareError", "OftenError"]


@pytest.mark.parametrize(("query", "count"), [({}, 4), ({"range": "7d"}, 3), ({"range": "1h"}, 2)])
def test_runs_of_the_range_are_counted(browser: Browser, fail: Fail, query: dict[str, str], count: int) -> None:
    for days in (20, 3, 0, 0):
        fail(ago=timedelta(days=days))
    assert cells(browser.get(LIST, query).content.decode(), "run_count") == [str(count)]


def test_a_failure_without_runs_in_the_range_is_not_listed(browser: Browser, fail: Fail) -> None:
    fail("OldError: x", ago=timedelta(days=20))
    assert listed(browser, range="7d") == []
    since = timezone.now() - timedelta(days=21)
    assert listed(browser, since=f"{since:%Y-%m-%dT%H:%M}") == ["OldError"]


def test_filters(browser: Browser, fail: Fail) -> None:
    client = Client.objects.create(name="one")
    fail("MineError: x", client=client)
    fail("TheirError: x")
    fail(status=Status.TIMED_OUT, outcome=Outcome.WALL_TIME)
    assert listed(browser, client__id__exact=str(client.pk)) == ["MineError"]
    assert len(listed(browser, kind__exact="time")) == 1
    assert listed(browser, q="their") == ["TheirError"]


def test_output_of_a_program_is_escaped(browser: Browser, fail: Fail) -> None:
    fail("ValueError: <img src=x onerror=alert()>")
    group = FailureGroup.objects.get()
    for address in (LIST, page_of(group), f"{HISTORY}?failure={group.pk}"):
        html = browser.get(address).content.decode()
        assert "<img src=x" not in html
        assert "&lt;img src=x" in html


def test_from_a_run_to_its_failure_and_back(browser: Browser, fail: Fail) -> None:
    execution = fail()
    group = FailureGroup.objects.get()
    run = reverse("admin:executions_execution_change", args=[execution.pk])
    assert page_of(group) in browser.get(run).content.decode()
    html = browser.get(page_of(group)).content.decode()
    assert run in html
    assert f"{HISTORY}?failure={group.pk}" in html


def test_trend_has_a_bar_for_each_day_with_runs(browser: Browser, fail: Fail) -> None:
    for days in (0, 1, 1, 12):
        fail(ago=timedelta(days=days))
    html = browser.get(page_of(FailureGroup.objects.get()), {"range": "30d"}).content.decode()
    chart = html[html.index('class="trend"') :]
    assert [words(chart).count(f": {number}") for number in (1, 2)] == [2, 1]


def test_history_of_a_failure(browser: Browser, fail: Fail, make_execution: MakeExecution) -> None:
    wanted = fail()
    fail("KeyError: x")
    make_execution()
    group = FailureGroup.objects.get(title="ValueError")
    html = browser.get(HISTORY, {"failure": str(group.pk)}).content.decode()
    assert cells(html, "short_id") == [str(wanted.pk)[-12:]]
    assert "ValueError: bad" in words(html)


def test_history_of_a_failure_in_a_range(browser: Browser, fail: Fail) -> None:
    fail(ago=timedelta(days=3))
    new = fail()
    query = {"failure": str(FailureGroup.objects.get().pk), "range": "24h"}
    assert cells(browser.get(HISTORY, query).content.decode(), "short_id") == [str(new.pk)[-12:]]


def test_history_of_a_large_failure_has_its_newest_runs_and_the_export_all(
    browser: Browser, fail: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "LISTED", 2)
    runs = [fail() for _ in range(3)]
    query = {"failure": str(FailureGroup.objects.get().pk)}
    html = browser.get(HISTORY, query).content.decode()
    assert cells(html, "short_id") == [str(run.pk)[-12:] for run in reversed(runs[1:])]
    assert "Only the newest 2 runs" in html
    export = browser.get(reverse("admin:executions_execution_export", args=["jsonl"]), query)
    lines = b"".join(export.streaming_content).decode().splitlines()  # type: ignore[attr-defined]
    assert {json.loads(line)["id"] for line in lines} == {str(run.pk) for run in runs}


@pytest.mark.parametrize("value", ["nonsense", "0", str(UUID(int=1))])
def test_a_failure_that_is_none_is_no_error(browser: Browser, fail: Fail, value: str) -> None:
    fail()
    response = browser.get(HISTORY, {"failure": value})
    assert response.status_code == 200
    assert cells(response.content.decode(), "short_id") == []


@pytest.mark.parametrize("role", ["administrator", "operator", "auditor"])
def test_people_of_each_role_see_the_failures(visitor: Callable[[str], Browser], fail: Fail, role: str) -> None:
    fail()
    browser = visitor(role)
    assert browser.get(LIST).status_code == 200
    assert browser.get(page_of(FailureGroup.objects.get())).status_code == 200


def test_who_may_not_see_the_history_sees_no_failure(client: Browser, fail: Fail) -> None:
    fail()
    user = User.objects.create_user("half", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_failuregroup"))
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    assert client.get(LIST).status_code == 403
    assert client.get(page_of(FailureGroup.objects.get())).status_code == 403


def test_nobody_changes_a_failure(browser: Browser, fail: Fail) -> None:
    fail()
    address = page_of(FailureGroup.objects.get())
    assert browser.post(address, {"title": "x"}).status_code == 403
    assert browser.get(address.replace("change", "delete")).status_code == 403


def test_the_list_s_statements_do_not_grow_with_its_rows(browser: Browser, fail: Fail) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            browser.get(LIST, {"range": "7d"})
        return len(captured)

    fail("AError: x")
    few = statements()
    for name in "BCDEF":
        fail(f"{name}Error: x", client=Client.objects.create(name=name))
    assert statements() == few
