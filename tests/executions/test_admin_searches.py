import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from executions.admin import changelist
from executions.models import Execution, SavedSearch
from executions.searching import newest
from tests.conftest import Visitor

MakeExecution = Callable[..., Execution]
SEARCHES = reverse("admin:searches")
LIST = reverse("admin:executions_execution_changelist")


def test_a_search_is_saved_and_offered(browser: Browser) -> None:
    response = browser.post(SEARCHES, {"name": "<mine>", "query": "status__exact=failed"})
    assert response["Location"] == f"{LIST}?status__exact=failed"
    html = browser.get(LIST).content.decode()
    assert '<a href="?status__exact=failed">&lt;mine&gt;</a>' in html


def test_nobody_else_sees_or_forgets_it(browser: Browser, visitor: Visitor) -> None:
    browser.post(SEARCHES, {"name": "mine", "query": "q=x"})
    other = visitor("auditor")
    assert ">mine<" not in other.get(LIST).content.decode()
    other.post(SEARCHES, {"forget": SavedSearch.objects.get().pk})
    assert SavedSearch.objects.exists()


def test_it_is_forgotten(browser: Browser, administrator: User) -> None:
    search = SavedSearch.objects.create(user=administrator, name="x", query="q=x")
    browser.post(SEARCHES, {"forget": search.pk})
    assert not SavedSearch.objects.exists()


@pytest.mark.parametrize("name, query", [("", "q=x"), ("x", "q=" + "x" * 2000), ("\0", "")])
def test_nonsense_is_not_saved(browser: Browser, name: str, query: str) -> None:
    assert browser.post(SEARCHES, {"name": name, "query": query}).status_code == 302
    assert not SavedSearch.objects.exists()


def test_the_same_name_replaces_it(browser: Browser) -> None:
    for query in ("q=x", "q=y"):
        browser.post(SEARCHES, {"name": "mine", "query": query})
    assert SavedSearch.objects.get().query == "q=y"


def test_a_search_that_ends_early_leads_to_the_rest(
    browser: Browser, make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (make_execution(code="needle", queued_at=timezone.now() - timedelta(days=days)) for days in (90, 0))
    monkeypatch.setattr(changelist, "newest", partial(newest, seconds=0))
    html = browser.get(LIST, {"q": "needle", "endpoint": new.endpoint}).content.decode()
    assert str(new.pk) in html
    assert str(old.pk) not in html
    monkeypatch.undo()
    link = re.search(r'<a class="go-on" href="([^"]+)">Search further back</a>', html)
    assert link
    html = browser.get(LIST + unescape(link[1])).content.decode()
    assert str(old.pk) in html
    assert str(new.pk) not in html
    assert "Search further back" not in html


def test_an_export_searches_longer_than_a_page(
    browser: Browser, make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(changelist, "newest", lambda *_, **bounds: asked.append(bounds) or ([], None))
    browser.get(LIST, {"q": "needle"})
    browser.get(reverse("admin:executions_execution_export", args=["csv"]), {"q": "needle"})
    assert "seconds" not in asked[0]
    assert asked[-1]["seconds"] > 1


@pytest.mark.parametrize(
    "value", ["nonsense", "ffffffff-ffff-ffff-ffff-ffffffffffff", "00000000-0000-0000-0000-000000000000"]
)
def test_any_id_may_be_where_a_search_goes_on(browser: Browser, make_execution: MakeExecution, value: str) -> None:
    make_execution(code="needle")
    assert browser.get(LIST, {"q": "needle", "before": value}).status_code == 200


@pytest.mark.parametrize(
    ("date", "days"),
    [
        ({"year": "2024"}, 366),
        ({"year": "2024", "month": "2"}, 29),
        ({"year": "2024", "month": "2", "day": "3"}, 1),
        ({"year": "99999"}, None),
    ],
)
def test_a_search_on_a_date_looks_at_nothing_else(
    browser: Browser,
    make_execution: MakeExecution,
    monkeypatch: pytest.MonkeyPatch,
    date: dict[str, str],
    days: int | None,
) -> None:
    make_execution()
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(changelist, "newest", lambda *_, **bounds: asked.append(bounds) or ([], None))
    browser.get(LIST, {"q": "needle"} | {f"queued_at__{unit}": value for unit, value in date.items()})
    found = asked[0]["until"] and (asked[0]["until"] - asked[0]["since"]).days if asked else None
    assert found == days
