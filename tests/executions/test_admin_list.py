import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from executions.models import Execution
from tests.pages import cells, words

MakeExecution = Callable[..., Execution]
LIST = reverse("admin:executions_execution_changelist")


def ids(browser: Browser, **query: str) -> list[str]:
    response = browser.get(LIST, query)
    assert response.status_code == 200
    return cells(response.content.decode(), "short_id")


def short(execution: Execution) -> str:
    return str(execution.pk)[-12:]


def ran(milliseconds: int) -> dict[str, datetime]:
    ended = timezone.now()
    return {"started_at": ended - timedelta(milliseconds=milliseconds), "ended_at": ended}


@pytest.mark.parametrize("words", ["third column", '"third column"', "column -fourth", "third or absent"])
def test_search_takes_what_a_web_search_takes(browser: Browser, make_execution: MakeExecution, words: str) -> None:
    make_execution(code="fourth column")
    wanted = make_execution(code="raise ValueError('the third column is missing')")
    assert ids(browser, q=words) == [short(wanted)]


def test_search_shows_the_hit_marked_and_escaped(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution(stdout="a < b & needle <img src=x>")
    html = browser.get(LIST, {"q": "needle"}).content.decode()
    assert "<mark>needle</mark>" in html
    assert "a &lt; b &amp;" in html
    assert "<img src=x>" not in html


@pytest.mark.parametrize("words", ["\0", "a\0b", "((((", "'", "\\", "x" * 2000, "  "])
def test_any_search_is_answered(browser: Browser, make_execution: MakeExecution, words: str) -> None:
    make_execution()
    ids(browser, q=words)


def test_label_filter(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution(labels={"canvas": "other"})
    wanted = make_execution(labels={"canvas": "sales"})
    assert ids(browser, label="canvas:sales") == [short(wanted)]
    assert ids(browser, label="no label") == []


def test_duration_filter(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution(**ran(20))
    wanted = make_execution(**ran(1500))
    assert ids(browser, ran_over="1000") == [short(wanted)]


def test_dates_lead_from_years_to_days(browser: Browser, make_execution: MakeExecution) -> None:
    wanted = make_execution(queued_at=datetime(2024, 2, 29, tzinfo=UTC))
    make_execution(queued_at=datetime(2026, 3, 1, tzinfo=UTC))
    html = browser.get(LIST).content.decode()
    assert all(f"?queued_at__year={year}" in html for year in (2024, 2025, 2026))
    month = {"queued_at__year": "2024", "queued_at__month": "2"}
    assert "queued_at__day=29" in browser.get(LIST, month).content.decode()
    assert "queued_at__day=30" not in browser.get(LIST, month).content.decode()
    assert ids(browser, **month, queued_at__day="29") == [short(wanted)]


def test_dates_keep_the_filters(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution()
    assert (
        "?status__exact=failed&amp;queued_at__year="
        in browser.get(LIST, {"status__exact": "failed"}).content.decode()
    )


def test_dates_read_the_bounds_only(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution()
    with CaptureQueriesContext(connection) as queries:
        browser.get(LIST)
    assert not any("DATE_TRUNC" in query["sql"] for query in queries)


@pytest.mark.parametrize(
    "query",
    [
        {"queued_at__year": "x"},
        {"queued_at__year": "99999"},
        {"queued_at__year": "2026", "queued_at__month": "13"},
    ],
)
def test_nonsense_dates_are_no_failure(
    browser: Browser, make_execution: MakeExecution, query: dict[str, str]
) -> None:
    make_execution()
    assert browser.get(LIST, query).status_code in (200, 302, 400)


def export(browser: Browser, kind: str, **query: str) -> str:
    response = browser.get(reverse("admin:executions_execution_export", args=[kind]), query)
    assert response.status_code == 200
    return b"".join(response).decode()  # type: ignore[call-overload]


def test_export_has_what_the_list_shows(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution(code="other")
    wanted = make_execution(code="needle")
    lines = export(browser, "jsonl", q="needle").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [str(wanted.pk)]


def test_export_as_csv_has_a_header(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution()
    header, _row = export(browser, "csv").splitlines()
    assert header.startswith("id,status,outcome")


def test_nothing_else_is_exported(browser: Browser) -> None:
    assert browser.get(reverse("admin:executions_execution_export", args=["exe"])).status_code == 404


@pytest.mark.parametrize("warm, marks", [(False, "cold 1 out"), (True, "1 out"), (None, "1 out")])
def test_a_cold_start_is_marked(
    browser: Browser, make_execution: MakeExecution, warm: bool | None, marks: str
) -> None:
    make_execution(warm=warm, artifact_count=1)
    assert cells(browser.get(LIST).content.decode(), "marks") == [marks]


def test_an_empty_list_says_where_rows_come_from(browser: Browser) -> None:
    shown = words(browser.get(LIST).content.decode())
    assert "No executions Run a program in the playground" in shown
    assert "Show all" not in shown


@pytest.mark.parametrize("query", [{"q": "absent"}, {"status__exact": "failed"}, {"queued_at__year": "2020"}])
def test_a_list_that_shows_nothing_leads_back(
    browser: Browser, make_execution: MakeExecution, query: dict[str, str]
) -> None:
    make_execution()
    shown = words(browser.get(LIST, query).content.decode())
    assert "Nothing matches" in shown and "Show all" in shown


def test_history_of_one_engine(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution(engine="docker")
    direct = make_execution(engine="direct")
    assert ids(browser, engine__exact="direct") == [short(direct)]
