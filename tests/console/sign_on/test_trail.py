"""How an auditor finds in the browser who logged in, and what happened to somebody's login."""

from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.conftest import Visitor
from tests.console.sign_on.acting import PASSWORD, entries, log_in
from tests.pages import cells, words

pytestmark = pytest.mark.django_db
TRAIL = reverse("admin:audit_trailentry_changelist")


@pytest.fixture
def auditor(visitor: Visitor) -> Browser:
    """Somebody has logged in and got a role and a factor, and an administrator has taken that away."""
    lena = User.objects.create_user("lena", password=PASSWORD, is_staff=True)
    lena.groups.add(Group.objects.get(name="operator"))
    log_in(Browser(), "lena")
    TOTP.activate(lena, "JBSWY3DPEHPK3PXP")
    removal = {"action": "remove_second_factors", "_selected_action": [lena.pk]}
    visitor("administrator").post(reverse("admin:auth_user_changelist"), removal)
    User.objects.create_user("lenart", is_staff=True)
    return visitor("auditor")


def listed(browser: Browser, **query: str) -> list[tuple[str, str]]:
    page = browser.get(TRAIL, query).content.decode()
    whats = [what.removesuffix(" ") for what in cells(page, "what")]
    return list(zip(whats, cells(page, "change"), strict=True))


def test_everything_about_a_person_is_one_list(auditor: Browser) -> None:
    found = [(what.split()[0], change) for what, change in listed(auditor, person="lena")]
    assert sorted(found) == sorted(
        [
            ("user", "created"), ("role", "created"), ("login", "created"), ("user", "logged in"),
            ("second", "created"), ("second", "deleted"),
        ]
    )  # fmt: skip


def test_rows_that_name_a_user_by_number_have_the_name(auditor: Browser) -> None:
    factors = [what for what, _ in listed(auditor, object="audit.Factor")]
    assert len(factors) == 2 and all(what.endswith("(user lena)") for what in factors)
    entry = entries("audit.Factor")[-1]
    page = auditor.get(reverse("admin:audit_trailentry_change", args=[entry.pk])).content.decode()
    assert "(user lena)" in words(page) and "user one administrator" in words(page)


@pytest.mark.parametrize("name", ["nobody", "len", " ", "0"])
def test_another_name_finds_nothing_of_it(auditor: Browser, name: str) -> None:
    assert not any("lena" in what for what, _ in listed(auditor, person=name)) or not name.strip()


def test_logins_of_everybody(auditor: Browser) -> None:
    assert listed(auditor, change="logged in") == [("user lena", "logged in")]


def test_names_cost_one_query(auditor: Browser, django_assert_max_num_queries: Callable[..., Any]) -> None:
    with CaptureQueriesContext(connection) as few:
        auditor.get(TRAIL, {"object": "audit.Factor"})
    TOTP.activate(User.objects.get(username="lenart"), "JBSWY3DPEHPK3PXP")
    with django_assert_max_num_queries(len(few)):
        auditor.get(TRAIL, {"object": "audit.Factor"})


def test_the_export_has_the_same_filter(auditor: Browser) -> None:
    answer: Any = auditor.get(reverse("admin:audit_trailentry_export", args=["jsonl"]), {"person": "lena"})
    lines = b"".join(answer.streaming_content).decode().splitlines()
    assert len(lines) == 6
