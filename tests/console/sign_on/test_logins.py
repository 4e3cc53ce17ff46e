"""The page of logins says by which method each came in, and so does its export."""

import csv
import io
import json
from typing import Any

import pytest
from allauth.account.internal.flows.login import record_authentication
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.usersessions.models import UserSession
from axes.models import AccessLog
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import ProgrammingError, transaction
from django.test import Client as Browser
from django.urls import reverse

from console.sign_on.methods import method_of
from people.models import LoginMethod
from tests.conftest import Visitor
from tests.console.sign_on.acting import PASSWORD, acts, log_in
from tests.console.sign_on.openid import Provider, sign_on
from tests.pages import cells, words

pytestmark = pytest.mark.django_db
LIST = reverse("admin:axes_accesslog_changelist")


@pytest.fixture
def codes(administrator: User) -> list[str]:
    """Of a second person, whom the login asks for one of them."""
    user = User.objects.create_user("coded", password=PASSWORD, is_staff=True)
    user.authenticator_set.create(type="totp", data={"secret": ""})
    unused: list[str] = RecoveryCodes.activate(user).get_unused_codes()
    return unused


@pytest.fixture
def logins(administrator: User, codes: list[str], provider: Provider) -> None:
    """One by each of four methods, in this order."""
    log_in(Browser(HTTP_USER_AGENT="=Firefox"))
    browser = Browser()
    log_in(browser, "coded")
    browser.post(reverse("mfa_authenticate"), {"code": codes[0]})
    sign_on(Browser(), provider, "ann-1")
    out = io.StringIO()
    call_command("recover", "admin", stdout=out)
    Browser().post(next(line for line in out.getvalue().split() if line.startswith("http")))


def methods(browser: Browser, **query: str) -> list[str]:
    return cells(browser.get(LIST, query).content.decode(), "login_method")


def test_each_has_its_method(logins: None, provider: Provider, visitor: Visitor) -> None:
    auditor = visitor("auditor")  # logged in past the login page
    assert methods(auditor, o="3") == [
        "password",
        "password and recovery code",
        f"OpenID Connect ({provider.issuer})",
        "recovery link",
        "not recorded",
    ]


@pytest.mark.parametrize(
    "chosen, found",
    [
        ("password", ["admin"]),
        ("code", ["coded"]),
        ("openid", ["ann"]),
        ("recovery", ["admin"]),
        ("totp", []),
        ("key", []),
        ("passkey", []),
        ("none", ["one auditor"]),
        ("nonsense", ["one auditor", "admin", "ann", "coded", "admin"]),
    ],
)
def test_they_can_be_filtered_by_it(logins: None, visitor: Visitor, chosen: str, found: list[str]) -> None:
    page = visitor("auditor").get(LIST, {"method": chosen}).content.decode()
    assert cells(page, "name") == found


def test_a_wrong_code_leaves_no_login(codes: list[str], client: Browser) -> None:
    log_in(client, "coded")
    client.post(reverse("mfa_authenticate"), {"code": "000000"})
    assert not AccessLog.objects.exists() and not LoginMethod.objects.exists()


def test_it_is_that_of_the_last_login_of_a_session(administrator: User, client: Browser) -> None:
    for _ in range(2):
        log_in(client)
    assert [str(row.method) for row in AccessLog.objects.all()] == ["password", "password"]


def test_it_is_kept_when_somebody_else_logs_in_with_the_session(administrator: User, client: Browser) -> None:
    User.objects.create_user("other", password=PASSWORD, is_staff=True)
    log_in(client)
    log_in(client, "other")
    assert str(AccessLog.objects.get(username="other").method) == "password"
    assert UserSession.objects.get(user__username="other").data == {"method": "password"}


def test_a_later_confirmation_is_no_login(administrator: User, client: Browser) -> None:
    log_in(client)
    client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    assert LoginMethod.objects.count() == 1


def exported(browser: Browser, kind: str, **query: str) -> str:
    answer: Any = browser.get(reverse("admin:axes_accesslog_export", args=[kind]), query)
    return b"".join(answer.streaming_content).decode()


def test_exports_have_it(logins: None, provider: Provider, visitor: Visitor) -> None:
    auditor = visitor("auditor")
    rows = list(csv.DictReader(io.StringIO(exported(auditor, "csv"))))
    assert [row["method"] for row in rows] == methods(auditor, o="3")
    coded = rows[1]
    assert (coded["user_name"], coded["first_factor"], coded["second_factor"], coded["address"]) == (
        "coded", "password", "recovery_codes", "127.0.0.1",
    )  # fmt: skip
    assert rows[0]["browser"] == "'=Firefox"  # which a spreadsheet would evaluate
    assert [json.loads(line)["issuer"] for line in exported(auditor, "jsonl", method="openid").splitlines()] == [
        provider.issuer
    ]


def test_an_export_is_in_the_trail(logins: None, visitor: Visitor) -> None:
    exported(visitor("auditor"), "csv", method="openid")
    (entry,) = acts("exported")
    assert (entry.what, entry.who) == ("logins", "user one auditor")
    assert entry.changes == {"format": (None, "csv"), "method": (None, "openid")}


@pytest.mark.parametrize("role, status", [("auditor", 200), ("administrator", 200), ("operator", 403)])
def test_who_may_export(visitor: Visitor, role: str, status: int) -> None:
    browser = visitor(role)
    assert browser.get(reverse("admin:axes_accesslog_export", args=["csv"])).status_code == status
    assert browser.get(reverse("admin:axes_accesslog_export", args=["xml"])).status_code == 404


def test_the_page_offers_its_exports_with_the_filters(visitor: Visitor) -> None:
    page = visitor("auditor").get(LIST, {"method": "openid"}).content.decode()
    assert reverse("admin:axes_accesslog_export", args=["jsonl"]) + "?method=openid" in page


@pytest.mark.parametrize(
    "page, said", [(LIST, "1 login"), (reverse("admin:usersessions_usersession_changelist"), "1 session")]
)
def test_rows_are_counted_by_the_name_of_the_page(
    client: Browser, administrator: User, page: str, said: str
) -> None:
    log_in(client)
    shown = words(client.get(page).content.decode())
    assert said in shown and "access log" not in shown and "user session" not in shown


@pytest.mark.parametrize("act", ["update", "delete"])
def test_a_method_never_changes(administrator: User, client: Browser, act: str) -> None:
    log_in(client)
    rows = LoginMethod.objects.all()
    with pytest.raises(ProgrammingError, match="Cannot update or delete"), transaction.atomic():
        rows.update(second="totp") if act == "update" else rows._raw_delete("default")


def test_it_stays_when_the_login_s_row_goes(administrator: User, client: Browser) -> None:
    log_in(client)
    AccessLog.objects.all().delete()
    assert LoginMethod.objects.count() == 1


def test_what_somebody_else_showed_in_the_session_does_not_count(administrator: User, rf: Any) -> None:
    request = rf.get("/")
    request.session = {}
    other = User.objects.create_user("other")
    record_authentication(request, other, "password")
    assert str(method_of(request, administrator)) == "unknown"


def test_a_confirmation_does_not_change_how_somebody_logged_in(administrator: User, rf: Any) -> None:
    request = rf.get("/")
    request.session = {}
    record_authentication(request, administrator, "password")
    record_authentication(request, administrator, "mfa", type="totp")
    record_authentication(request, administrator, "password", reauthenticated=True)
    assert str(method_of(request, administrator)) == "password and authenticator app"
