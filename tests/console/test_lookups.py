"""What a list can be filtered by, and filters that lead beyond the first and the last date."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import models
from django.test import Client as Browser
from django.test import RequestFactory
from django.urls import NoReverseMatch, reverse

from clients.models import Client
from executions.models import Execution
from tests.conftest import Visitor

# Columns that nobody may find letter by letter: secrets, hashes of texts that redaction changes, and such texts.
HIDDEN = (
    *(
        "token_sha256",
        "password",
        "code_sha256",
        "request_sha256",
        "idempotency_key",
        "code",
        "stdin",
        "arguments",
    ),
    *("stdout", "stderr", "result", "variables", "environment", "callback_url", "regex"),
)


def lists() -> Iterator[tuple[str, str]]:
    for model in admin.site._registry:
        for field in model._meta.get_fields():
            if isinstance(field, models.Field) and field.name in HIDDEN:
                yield f"{model._meta.app_label}_{model._meta.model_name}", field.name


@pytest.mark.parametrize(("table", "column"), list(lists()))
@pytest.mark.parametrize("how", ["__startswith", "__gte", "__regex", ""])
def test_no_list_tells_a_hidden_value_letter_by_letter(
    browser: Browser, client_with_token: tuple[Client, str], table: str, column: str, how: str
) -> None:
    assert browser.get(reverse(f"admin:{table}_changelist"), {f"{column}{how}": "a"}).status_code == 400


@pytest.mark.parametrize("path", ["tokens__token_sha256__startswith", "client__tokens__token_sha256__startswith"])
@pytest.mark.parametrize("table", ["clients_client", "clients_token", "executions_execution"])
def test_no_other_table_tells_it_either(browser: Browser, table: str, path: str) -> None:
    answer = browser.get(reverse(f"admin:{table}_changelist"), {path: "a"})
    assert answer.status_code in (302, 400)


@pytest.mark.parametrize("query", ["batch_id", "rerun_of"])
def test_links_of_the_pages_still_filter(
    browser: Browser, make_execution: Callable[..., Execution], query: str
) -> None:
    execution = make_execution()
    answer = browser.get(reverse("admin:executions_execution_changelist"), {query: str(execution.pk)})
    assert answer.status_code == 200


def test_every_filter_on_a_page_is_allowed(browser: Browser, administrator: User) -> None:
    request = RequestFactory().get("/")
    request.user = administrator
    for model, page in admin.site._registry.items():
        for item in page.get_list_filter(request):
            name = item[0] if isinstance(item, tuple) else item
            if isinstance(name, str):
                assert page.lookup_allowed(f"{name}__exact", "1", request), (model, name)


DATES: list[dict[str, Any]] = [
    {"{}__year": "1"}, {"{}__year": "9999", "{}__month": "12", "{}__day": "31"}, {"{}__year": "9999"},
    {"{}__year": "1", "{}__month": "1", "{}__day": "1"}, {"{}__year": "0"}, {"{}__year": "9" * 30}, {"{}__year": "x"},
    {"{}__gte": "0001-01-01 00:00:00+14:00"}, {"{}__lt": "9999-12-31 23:59:59-12:00"},
]  # fmt: skip


@pytest.mark.parametrize("query", DATES)
def test_no_date_breaks_a_list(browser: Browser, make_execution: Callable[..., Execution], query: Any) -> None:
    make_execution()
    for model, page in admin.site._registry.items():
        if column := page.date_hierarchy:
            address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
            asked = {name.format(column): value for name, value in query.items()}
            assert browser.get(address, asked, follow=True).status_code == 200, (model, asked)


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "0000-01-01"])
@pytest.mark.parametrize("bound", ["since", "until"])
def test_no_day_breaks_the_audit_trail(browser: Browser, bound: str, day: str) -> None:
    assert browser.get(reverse("admin:audit_trailentry_changelist"), {bound: day}).status_code == 200


@pytest.mark.parametrize("path", ["1/1/", "999/x/", "0/0/", "8/00000000-0000-0000-0000-000000000000/"])
def test_objects_have_no_address_outside_of_the_admin(browser: Browser, path: str) -> None:
    assert browser.get(f"/admin/r/{path}").status_code == 404
    with pytest.raises(NoReverseMatch):
        reverse("admin:view_on_site", args=[1, 1])


PAGES = ("index", "pool", "doctor", "schedule", "about", "playground")


@pytest.mark.parametrize("page", PAGES)
def test_staff_without_a_role_sees_nothing(client: Browser, db: None, page: str) -> None:
    client.force_login(
        User.objects.create_user("somebody", is_staff=True), "django.contrib.auth.backends.ModelBackend"
    )
    assert client.get(reverse(f"admin:{page}")).status_code == 403


@pytest.mark.parametrize("role", ["administrator", "operator", "auditor"])
def test_every_role_sees_the_dashboard(visitor: Visitor, role: str) -> None:
    assert visitor(role).get(reverse("admin:index")).status_code == 200


def test_what_a_list_searches_fits_into_its_field() -> None:
    """On a phone the field has 270 pixels for it, and beside the menu a little more."""
    helps = {model._meta.label: its.search_help_text or "" for model, its in admin.site._registry.items()}
    assert {label: text for label, text in helps.items() if len(text) > 36} == {}
