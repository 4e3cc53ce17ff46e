import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from executions.models import Execution, Status
from executions.models.lookup import last_digits
from tests.pages import cells, fields, words

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
    make_execution(stdout="first < second & needle <img src=x>")
    html = browser.get(LIST, {"q": "needle"}).content.decode()
    assert "<mark>needle</mark>" in html
    assert "first &lt; second &amp;" in html
    assert "<img src=x>" not in html


def test_hits_in_code_and_output_are_told_apart(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution(code="print('third column')", stdout="no match", stderr="the third column is missing")
    (shown,) = cells(browser.get(LIST, {"q": "third column"}).content.decode(), "hit")
    code, _, stderr = shown.partition("stderr")
    assert code.startswith("code ") and "third column" in code
    assert "is missing" in stderr and "stdout" not in shown


def test_words_of_different_texts_are_marked_where_they_are(
    browser: Browser, make_execution: MakeExecution
) -> None:
    make_execution(code="sharp needle", stdout="one large haystack of which nothing else is known today")
    (shown,) = cells(browser.get(LIST, {"q": "needle haystack"}).content.decode(), "hit")
    assert "code sharp needle" in shown and "large haystack of which" in shown.partition("stdout")[2]


def test_search_results_have_their_labels(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution(code="needle", labels={"canvas": "sales"})
    assert cells(browser.get(LIST, {"q": "needle"}).content.decode(), "marks") == ["canvas: sales"]


@pytest.mark.parametrize("part", [slice(-12, None), slice(0, 8), slice(0, 13), slice(0, 23), slice(-17, None)])
def test_a_part_of_an_id_finds_it(browser: Browser, make_execution: MakeExecution, part: slice) -> None:
    make_execution(queued_at=datetime(2024, 2, 29, tzinfo=UTC))
    wanted = make_execution()
    assert ids(browser, q=str(wanted.pk)[part]) == [short(wanted)]
    assert ids(browser, q=str(wanted.pk)[part].upper()) == [short(wanted)]


def test_the_short_id_is_looked_up_in_an_index(make_execution: MakeExecution) -> None:
    wanted = make_execution()
    found = Execution.objects.annotate(short=last_digits()).filter(short=short(wanted))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    assert "execution_short_id_idx" in found.order_by().explain()


@pytest.mark.parametrize("words", ["\0", "a\0b", "((((", "'", "\\", "x" * 2000, "  "])
def test_any_search_is_answered(browser: Browser, make_execution: MakeExecution, words: str) -> None:
    make_execution()
    ids(browser, q=words)


def test_label_filter(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution(labels={"canvas": "other"})
    wanted = make_execution(labels={"canvas": "sales"})
    assert ids(browser, label="canvas:sales") == [short(wanted)]
    assert ids(browser, label="no:label") == []


def test_label_filter_says_what_it_wants(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution(labels={"canvas": "sales"})
    assert 'placeholder="name:value"' in browser.get(LIST).content.decode()
    shown = browser.get(LIST, {"label": "canvas"}).content.decode()
    assert "label: Has no colon. Write name:value, for example user:admin." in words(shown)
    assert cells(shown, "short_id") == []


def test_filters_that_apply_are_chips(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution(labels={"canvas": "a&b"}, status=Status.FAILED, outcome="nonzero_exit")
    query = {
        "status__exact": "failed",
        "label": "canvas:a&b",
        "q": "main",
        "range": "24h",
        "runtime__id__exact": str(execution.runtime_id),
    }
    shown = browser.get(LIST, query).content.decode()
    chips = shown.partition('<ul class="chips"')[2].partition("</ul>")[0]
    for words_of_chip in (
        "Search: main",
        "Status: Failed",
        "Label: canvas:a&amp;b",
        "Queued: 24 hours",
        "Runtime: ",
    ):
        assert words_of_chip in words(chips)
    without_status = re.findall(r'href="([^"]*)" aria-label="Remove the filter Status', chips)
    (address,) = (unescape(found) for found in without_status)
    assert parse_qs(urlsplit(address).query) == {k: [v] for k, v in query.items() if k != "status__exact"}
    assert cells(browser.get(address).content.decode(), "short_id") == [short(execution)]


def test_a_list_without_filters_has_no_chips(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution()
    assert 'class="chips"' not in browser.get(LIST).content.decode()


def test_a_batch_is_a_chip(browser: Browser, make_execution: MakeExecution) -> None:
    batch = make_execution().pk
    make_execution(batch_id=batch)
    assert f"Batch: {batch}" in words(browser.get(LIST, {"batch_id": str(batch)}).content.decode())


def test_several_filters_are_applied_at_once(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution(engine="direct")
    make_execution(engine="docker", status=Status.FAILED, outcome="nonzero_exit")
    wanted = make_execution(engine="direct", status=Status.FAILED, outcome="nonzero_exit")
    form = browser.get(LIST).content.decode().partition('id="filter-form"')[2].partition("</form>")[0]
    for name, choice in (("status", "status__exact=failed"), ("engine", "engine__exact=direct")):
        assert f'<option value="{choice}"' in form.partition(f'name="_filter.{name}"')[2].partition("</select>")[0]
    choices = {
        "_filter.status": "status__exact=failed",
        "_filter.engine": "engine__exact=direct",
        "_filter.warm": "",
    }
    chosen = choices | {"label": "", "q": "", "p": "3"}
    response = browser.get(LIST, chosen, follow=True)
    assert response.redirect_chain == [(f"{LIST}?status__exact=failed&engine__exact=direct", 302)]
    assert cells(response.content.decode(), "short_id") == [short(wanted)]


def test_filters_form_keeps_search_and_range(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution()
    html = browser.get(LIST, {"q": "main", "range": "7d", "status__exact": "failed"}).content.decode()
    form = fields(html.partition('id="filter-form"')[2].partition("</form>")[0])
    assert (form["q"], form["range"]) == ("main", "7d")
    assert '<option value="status__exact=failed" selected>' in html


@pytest.mark.parametrize(
    "query, number",
    [
        ({"range": "1h"}, 1),
        ({"range": "24h"}, 2),
        ({"range": "7d"}, 3),
        ({"range": "nonsense"}, 4),
        ({"since": "2024-02-28T12:00", "until": "2024-03-01"}, 1),
        ({"until": "2024-03-01T00:00:00Z"}, 1),
        ({"since": "2024-03-01T00:00"}, 3),
    ],
)
def test_time_range_of_the_list_and_its_export(
    browser: Browser, make_execution: MakeExecution, query: dict[str, str], number: int
) -> None:
    make_execution()
    for hours in (5, 50):
        make_execution(queued_at=timezone.now() - timedelta(hours=hours))
    make_execution(queued_at=datetime(2024, 2, 29, tzinfo=UTC))
    assert len(ids(browser, **query)) == number
    assert len(export(browser, "jsonl", **query).splitlines()) == number


@pytest.mark.parametrize(
    "query, problem",
    [
        ({"since": "yesterday"}, "since: &#x27;yesterday&#x27; is not a time. Write the time as"),
        ({"since": "0001-01-01T00:00+14:00"}, "is not a time"),
        ({"since": "2024-02-02", "until": "2024-02-01"}, "since: Is not before until."),
    ],
)
def test_a_time_range_that_is_none_is_refused(
    browser: Browser, make_execution: MakeExecution, query: dict[str, str], problem: str
) -> None:
    make_execution()
    assert problem in words(browser.get(LIST, query).content.decode())


def test_picker_keeps_the_filters_and_drops_the_date(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution()
    html = browser.get(LIST, {"status__exact": "succeeded", "queued_at__year": "2026", "p": "1"}).content.decode()
    assert 'href="?status__exact=succeeded&amp;range=7d"' in html


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


# --- Long histories ---


def plan(executions: Any, *disabled: str) -> str:
    with connection.cursor() as cursor:
        for name in disabled:
            cursor.execute("SELECT set_config(%s, 'off', true)", [f"enable_{name}"])
    return str(executions.explain())


@pytest.mark.parametrize("order", ["0", "-0", "5", "-5", "6", "-6", "7", "-7", ""])
def test_the_list_is_sorted_by_an_index(browser: Browser, order: str) -> None:
    rows = browser.get(LIST, {"o": order} if order else {}).context["cl"].queryset
    found = plan(rows[:50], "seqscan", "bitmapscan", "sort")
    # The times of arrival have an index without ids: only those of the same time are sorted.
    sorts = re.findall(r"(?:Incremental )?Sort +\(cost", found)
    assert sorts in ([], ["Incremental Sort  (cost"]) if order in ("", "5", "-5") else not sorts, found


@pytest.mark.parametrize("column", ["1", "2", "3", "4"])
def test_a_column_without_an_index_in_its_order_is_not_sorted(browser: Browser, column: str) -> None:
    assert browser.get(LIST, {"o": column}).context["cl"].queryset.query.order_by == ("-pk",)
    assert f"?o={column}" not in browser.get(LIST).content.decode()


def test_sorting_by_run_time_and_memory(browser: Browser, make_execution: MakeExecution) -> None:
    slow = make_execution(**ran(3000), peak_memory_bytes=1)
    quick = make_execution(**ran(10), peak_memory_bytes=2)
    assert ids(browser, o="-6") == ids(browser, o="7") == [short(slow), short(quick)]
    assert ids(browser, o="6") == ids(browser, o="-7") == [short(quick), short(slow)]


def test_an_engine_that_ran_nothing_is_told_by_an_index(db: None) -> None:
    assert "execution_engine_idx" in plan(Execution.objects.filter(engine="direct").order_by(), "seqscan")


def test_cold_starts_are_found_by_an_index(db: None) -> None:
    assert "execution_cold_idx" in plan(
        Execution.objects.filter(warm=False).order_by("-id")[:50], "seqscan", "sort"
    )
