import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse

from executions.models import SavedSearch
from tests.conftest import Visitor

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
