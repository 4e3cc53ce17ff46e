from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone

from clients.models import Client
from executions import searching
from executions.models import Execution
from executions.models.ids import made_at
from executions.models.lookup import MARK_DIGITS
from executions.searching import AllClients, Search, Window, extent, newest

MakeExecution = Callable[..., Execution]
AGES = [timedelta(seconds=2**i) for i in range(28)]  # to eight years
QUERIES = [
    "apple",
    "banana",
    "apple banana",
    "apple or cherry",
    "apple -banana",
    "-apple",
    '"banana cherry"',
    "plum",
]


@pytest.fixture
def history(make_execution: MakeExecution) -> list[Execution]:
    """Of nine years, with words of different rarity."""
    now = timezone.now()
    rows = []
    for i, age in enumerate(AGES):
        code = "apple" if i % 2 else "banana" if i % 3 else "banana cherry apple"
        rows.append(make_execution(queued_at=now - age, code=code, stdout="cherry" if i == 20 else ""))
    return rows


def windows(text: str, client: Any = AllClients, **kwargs: Any) -> list[Window]:
    whole = extent(Execution.objects.all())
    assert whole
    return list(Search(text, client).windows(oldest=whole[0], newest=whole[1], **kwargs))


def found(text: str, client: Any = AllClients, **kwargs: Any) -> list[UUID]:
    return [pk for window in windows(text, client, **kwargs) for pk in window.ids]


def walked(text: str) -> list[UUID]:
    """The same by reading every row."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM executions_execution WHERE finished_at IS NOT NULL"
            " AND execution_words(id, client_id, code, stdout, stderr) @@ websearch_to_tsquery('simple', %s)"
            " ORDER BY id DESC",
            [text],
        )
        return [pk for (pk,) in cursor.fetchall()]


@pytest.mark.parametrize("text", QUERIES)
def test_windows_find_what_a_walk_through_all_rows_finds(history: list[Execution], text: str) -> None:
    assert found(text) == walked(text)


@pytest.mark.parametrize("text", QUERIES)
def test_oldest_first_finds_the_same(history: list[Execution], text: str) -> None:
    assert found(text, newest_first=False) == walked(text)[::-1]


def test_window_with_too_many_is_shortened(history: list[Execution], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "MOST_IDS", 2)
    assert found("apple") == walked("apple")


def test_many_of_one_moment_are_all_found(make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "MOST_IDS", 2)
    rows = {make_execution(code="apple").pk for _ in range(5)}
    assert set(found("apple")) == rows


def test_search_of_years_takes_few_windows(history: list[Execution]) -> None:
    assert len(windows("plum")) < 15


def test_windows_leave_no_gap(history: list[Execution]) -> None:
    whole = extent(Execution.objects.all())
    assert whole
    search = Search("apple", AllClients)
    first = next(search.windows(oldest=whole[0], newest=whole[1]))
    rest = search.windows(oldest=whole[0], newest=UUID(int=first.last.int - 1))
    assert first.ids + [pk for window in rest for pk in window.ids] == walked("apple")


def test_index_answers_without_computing_words(make_execution: MakeExecution) -> None:
    for _ in range(30):
        make_execution(code="apple")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE executions_execution")
    block = int(timezone.now().timestamp() * 1000) // 2**16
    plan = Search("apple", None).matching(block - 5, block + 5)[:100].explain()
    assert "Bitmap Index Scan on execution_search_idx" in plan
    assert "Filter" not in plan
    assert "Seq Scan" not in plan


def test_phrase_is_checked_only_in_what_has_its_words(make_execution: MakeExecution) -> None:
    for code in ["apple banana", "banana apple", *["cherry"] * 30]:
        make_execution(code=code)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE executions_execution")
    block = int(timezone.now().timestamp() * 1000) // 2**16
    plan = Search('"apple banana"', None).matching(block - 5, block + 5)[:100].explain(analyze=True)
    assert "Bitmap Index Scan on execution_search_idx" in plan
    assert "Rows Removed by Index Recheck: 1\n" in plan


def test_clients_words_are_apart(make_execution: MakeExecution) -> None:
    one, other = (Client.objects.create_with_token(name)[0] for name in ("one", "other"))
    row, _, anonymous = (make_execution(code="apple", client=client) for client in (one, other, None))
    assert found("apple", one) == [row.pk]
    assert found("apple", None) == [anonymous.pk]


def test_marks_cannot_be_searched_for(history: list[Execution]) -> None:
    assert found("@c") == found("c") == []
    assert found(f"@{history[0].pk.hex[:4]}") == []


@pytest.mark.parametrize("text", ["", "!!!", "-", '""', "@"])
def test_text_without_a_word_finds_nothing(history: list[Execution], text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize("text", ["x" * 10_000, "'a' & !", "a:*b", "\\", "é" * 500, "a <-> b"])
def test_odd_text_is_no_error(history: list[Execution], text: str) -> None:
    assert found(text) == walked(text[:500])


def test_open_execution_is_not_found(make_execution: MakeExecution) -> None:
    make_execution(code="apple", status="running")
    assert found("apple") == []


@pytest.mark.parametrize(
    ("begin", "end"), [(0, 1), (5, 5), (0xFFF0, 0x20003), (0x019AAAAA, 0x019BCCCC), (1, 1 << 28)]
)
def test_marks_cover_the_blocks_and_no_others(begin: int, end: int) -> None:
    covered = begin
    for mark in searching._marks(begin, end):
        digits = len(mark) - 1
        size = 16 ** (MARK_DIGITS[-1] - digits)
        assert int(mark[1:], 16) * size == covered
        covered += size
    assert covered == end


def test_newest_are_the_newest_that_match(history: list[Execution]) -> None:
    apples = walked("apple")
    assert newest("apple", Execution.objects.all(), most=3, seconds=60) == (apples[:3], apples[2])
    assert newest("apple", Execution.objects.all(), most=99, seconds=60) == (apples, None)


def test_a_search_goes_on_where_it_ended(history: list[Execution]) -> None:
    found: list[UUID] = []
    pages, rest = 0, None
    while not pages or rest:
        older = Execution.objects.filter(pk__lt=rest) if rest else Execution.objects.all()
        ids, rest = newest("apple", older, 3, before=rest, seconds=60)
        found += ids
        pages += 1
    assert found == walked("apple")
    assert pages > 3


def test_a_search_without_time_says_how_far_it_came(history: list[Execution]) -> None:
    ids, rest = newest("apple", Execution.objects.all(), seconds=0)
    assert rest and 0 < len(ids) < len(walked("apple"))
    older, end = newest("apple", Execution.objects.filter(pk__lt=rest), before=rest, seconds=60)
    assert (ids + older, end) == (walked("apple"), None)


def test_a_search_does_not_look_beyond_its_time(history: list[Execution], monkeypatch: pytest.MonkeyPatch) -> None:
    since, until = timezone.now() - timedelta(days=30), timezone.now() - timedelta(days=3)
    begun: list[dict[str, Any]] = []
    windows = Search.windows
    monkeypatch.setattr(Search, "windows", lambda self, **ends: begun.append(ends) or windows(self, **ends))
    newest("apple", Execution.objects.all(), since=since, until=until)
    assert since - timedelta(minutes=6) < made_at(begun[0]["oldest"]) < since
    assert until <= made_at(begun[0]["newest"]) < until + timedelta(seconds=1)
