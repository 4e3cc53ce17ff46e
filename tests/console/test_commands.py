"""What Ctrl+K finds."""

from collections.abc import Callable

import pytest
from django.test import Client as Browser
from django.urls import reverse

from clients.models import Client
from executions.models import Execution
from tests.conftest import Visitor
from tests.pages import words

SEARCH = reverse("admin:search")
MakeExecution = Callable[..., Execution]


def found(browser: Browser, text: str) -> str:
    response = browser.get(SEARCH, {"s": text})
    assert response.status_code == 200
    return response.content.decode()


def test_pages_of_the_menu_are_found(browser: Browser) -> None:
    html = found(browser, "audit tr")
    assert reverse("admin:audit_trailentry_changelist") in html and "Audit trail" in html


@pytest.mark.parametrize("part", [slice(-12, None), slice(0, 8), slice(None)])
def test_an_execution_is_found_by_a_part_of_its_id(
    browser: Browser, make_execution: MakeExecution, part: slice
) -> None:
    execution = make_execution()
    assert reverse("admin:executions_execution_change", args=[execution.pk]) in found(
        browser, str(execution.pk)[part]
    )


def test_runtimes_and_clients_are_found_by_name(browser: Browser, make_execution: MakeExecution) -> None:
    client = Client.objects.create(name="<b>canvas")
    html = found(browser, "canvas")
    assert reverse("admin:clients_client_change", args=[client.pk]) in html
    assert "&lt;b&gt;canvas" in html and "<b>" not in html
    assert reverse("admin:runtimes_runtime_change", args=[make_execution().runtime_id]) in found(browser, "PYTHON")


def test_other_words_lead_to_the_search_of_executions(browser: Browser) -> None:
    address = reverse("admin:executions_execution_changelist")
    assert f'href="{address}?q=third+%26+column"' in found(browser, "third & column")


def test_nobody_finds_what_they_may_not_see(visitor: Visitor) -> None:
    assert reverse("admin:audit_trailentry_changelist") not in found(visitor("operator"), "audit")


@pytest.mark.parametrize("text", ["", "  ", "\0"])
def test_nothing_is_found_for_nothing(browser: Browser, text: str) -> None:
    assert words(found(browser, text)) == ("Nothing found." if text.strip() else "")
