"""Sessions are listed and ended: one's own by everybody, others' by administrators; the trail has it."""

from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client as Browser
from django.urls import reverse

from tests.conftest import Visitor
from tests.console.sign_on.acting import acts, log_in
from tests.pages import cells, words

pytestmark = pytest.mark.django_db
INDEX, SECURITY = reverse("admin:index"), reverse("mfa_index")
END, LIST = reverse("sign_on_end_session"), reverse("admin:usersessions_usersession_changelist")


@pytest.fixture
def here(administrator: User) -> Browser:
    browser = Browser(HTTP_USER_AGENT="Firefox at work")
    log_in(browser)
    return browser


@pytest.fixture
def elsewhere(administrator: User) -> Browser:
    browser = Browser(HTTP_USER_AGENT="Safari on a phone", REMOTE_ADDR="192.0.2.7")
    log_in(browser)
    return browser


def row_of(browser: Browser) -> UserSession:
    return UserSession.objects.get(session_key=browser.session.session_key)


def test_a_person_sees_their_sessions(here: Browser, elsewhere: Browser) -> None:
    page = words(here.get(SECURITY).content.decode())
    assert "Firefox at work this one" in page and "Safari on a phone 192.0.2.7 password" in page


def test_and_ends_them(here: Browser, elsewhere: Browser) -> None:
    row = row_of(elsewhere)
    here.post(END, {"session": row.pk})
    assert (here.get(INDEX).status_code, elsewhere.get(INDEX).status_code) == (200, 302)
    assert not Session.objects.filter(session_key=row.session_key).exists()


def test_and_all_others_at_once(here: Browser, elsewhere: Browser) -> None:
    here.post(END, {"session": "others"})
    assert (here.get(INDEX).status_code, elsewhere.get(INDEX).status_code) == (200, 302)


@pytest.mark.parametrize("value", ["", "x", "-1", "99999999"])
def test_one_that_there_is_not_is_not_found(here: Browser, value: str) -> None:
    assert here.post(END, {"session": value}).status_code == 404


def test_nobody_ends_another_s_by_that_form(here: Browser, visitor: Visitor) -> None:
    stranger = visitor("auditor")
    assert stranger.post(END, {"session": row_of(here).pk}).status_code == 404
    assert here.get(INDEX).status_code == 200


def test_ending_is_in_the_trail(here: Browser, elsewhere: Browser) -> None:
    here.post(END, {"session": row_of(elsewhere).pk})
    (entry,) = acts("ended")
    assert (entry.what, entry.who, entry.where, entry.behalf) == (
        "session of user admin", "user admin", "127.0.0.1", "user admin",
    )  # fmt: skip
    assert entry.changes["address"] == ("192.0.2.7", None)
    assert entry.changes["browser"] == ("Safari on a phone", None)


def select(browser: Browser, *rows: UserSession) -> Any:
    return browser.post(LIST, {"action": "end_sessions", "_selected_action": [row.pk for row in rows]})


def test_an_administrator_sees_and_ends_everybody_s(here: Browser, visitor: Visitor) -> None:
    boss = visitor("administrator")
    assert cells(boss.get(LIST).content.decode(), "method") == ["password"]
    select(boss, row_of(here))
    assert here.get(INDEX).status_code == 302
    (entry,) = acts("ended")
    assert (entry.who, entry.behalf) == ("user one administrator", "user admin")


def test_an_auditor_sees_them_only(here: Browser, visitor: Visitor) -> None:
    auditor = visitor("auditor")
    assert auditor.get(LIST).status_code == 200
    select(auditor, row_of(here))
    assert here.get(INDEX).status_code == 200


def test_an_operator_does_not(here: Browser, visitor: Visitor) -> None:
    assert visitor("operator").get(LIST).status_code == 403


def test_no_page_has_the_key_of_a_session(here: Browser) -> None:
    key = here.session.session_key
    row = row_of(here)
    detail = reverse("admin:usersessions_usersession_change", args=[row.pk])
    for page in (SECURITY, LIST, detail):
        assert str(key) not in here.get(page).content.decode()
    assert here.get(f"{LIST}?session_key__startswith={key[:2]}").status_code in (302, 400)


def test_a_logout_takes_the_session_off_the_list(here: Browser, elsewhere: Browser) -> None:
    elsewhere.post(reverse("admin:logout"))
    assert cells(here.get(LIST).content.decode(), "browser") == ["Firefox at work"]
