"""Logins with a password, a second factor, and what is refused."""

import time
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from axes.models import AccessLog
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse
from pytest_django import Settings

from console.sign_on.adapters import SecondFactorAdapter
from tests.console.sign_on.acting import PASSWORD, acts, log_in

pytestmark = pytest.mark.django_db
INDEX, LOGIN, CODE = reverse("admin:index"), reverse("admin:login"), reverse("mfa_authenticate")
SECURITY = reverse("mfa_index")
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def code(steps: int = 0) -> str:
    return format_hotp_value(hotp_value(SECRET, int(time.time()) // 30 + steps))


def wrong_code() -> str:
    return next(str(n).zfill(6) for n in range(10) if str(n).zfill(6) not in {code(-1), code(), code(1), code(2)})


@pytest.fixture
def app(administrator: User) -> Authenticator:
    """The administrator's authenticator app."""
    with_context = TOTP.activate(administrator, SECRET)
    return with_context.instance


def give(browser: Browser, text: str) -> Any:
    return browser.post(CODE, {"code": text})


def test_a_password_alone_logs_in(client: Browser, administrator: User) -> None:
    assert log_in(client)["Location"] == INDEX
    assert client.get(INDEX).status_code == 200


def test_the_wanted_page_is_kept(client: Browser, administrator: User) -> None:
    assert log_in(client, next="/admin/pool/")["Location"] == "/admin/pool/"
    assert log_in(Browser(), next="https://evil.example/")["Location"] == INDEX


def test_with_an_app_the_password_is_not_enough(client: Browser, app: Authenticator) -> None:
    assert log_in(client)["Location"] == CODE
    assert client.get(INDEX).status_code == 302
    assert not AccessLog.objects.exists()
    assert "Code of your authenticator app" in client.get(CODE).content.decode()


def test_the_code_completes_the_login(client: Browser, app: Authenticator) -> None:
    log_in(client, next="/admin/pool/")
    assert give(client, code())["Location"] == "/admin/pool/"
    assert client.get(INDEX).status_code == 200
    assert AccessLog.objects.get().username == "admin"


def test_a_code_works_once(client: Browser, app: Authenticator) -> None:
    right = code()
    log_in(client)
    assert give(client, right).status_code == 302
    other = Browser()
    log_in(other)
    answer = give(other, right)
    assert (answer.status_code, other.get(INDEX).status_code) == (200, 302)
    assert "Incorrect code." in answer.content.decode()


def test_an_older_code_is_refused_after_a_newer_one(client: Browser, app: Authenticator) -> None:
    log_in(client)
    assert give(client, code(1)).status_code == 302
    other = Browser()
    log_in(other)
    assert give(other, code(-1)).status_code == 200


def test_wrong_codes_come_to_an_end(client: Browser, app: Authenticator) -> None:
    log_in(client)
    assert [give(client, wrong_code()).status_code for _ in range(5)] == [200, 200, 200, 200, 429]
    # Neither the right code nor the password helps now.
    assert give(client, code()).status_code == 429
    assert log_in(Browser()).status_code == 429


def test_a_password_between_does_not_forgive_wrong_codes(client: Browser, app: Authenticator) -> None:
    for _ in range(4):
        log_in(client)
        give(client, wrong_code())
    log_in(client)
    assert give(client, wrong_code()).status_code == 429


def test_a_recovery_code_works_once(client: Browser, app: Authenticator, administrator: User) -> None:
    first = RecoveryCodes.activate(administrator).get_unused_codes()[0]
    log_in(client)
    assert give(client, first).status_code == 302
    other = Browser()
    log_in(other)
    assert give(other, first).status_code == 200


def test_secrets_are_stored_under_a_key(app: Authenticator, settings: Settings) -> None:
    assert SECRET not in str(app.data)
    assert SecondFactorAdapter().decrypt(app.data["secret"]) == SECRET


def test_after_a_new_key_no_code_is_right(client: Browser, app: Authenticator, settings: Settings) -> None:
    settings.SECRET_KEY = "another key"
    log_in(client)
    answer = give(client, code())
    assert (answer.status_code, client.get(INDEX).status_code) == (200, 302)


@pytest.mark.parametrize(
    "given, said",
    [("", "password"), ("totp", "password and authenticator app"), ("codes", "password and recovery code")],
)
def test_the_trail_says_how(client: Browser, administrator: User, given: str, said: str) -> None:
    codes = RecoveryCodes.activate(administrator).get_unused_codes()
    if given:
        TOTP.activate(administrator, SECRET)
    log_in(client)
    if given:
        give(client, code() if given == "totp" else codes[0])
    (entry,) = acts("logged in")
    assert (entry.what, entry.who, entry.where) == ("user admin", "user admin", "127.0.0.1")
    assert entry.changes["method"] == (None, said)


def test_cancelling_forgets_the_password(client: Browser, app: Authenticator) -> None:
    log_in(client)
    client.get(reverse("sign_on_cancel"))
    assert give(client, code())["Location"] == LOGIN


def test_whoever_is_no_staff_is_refused(client: Browser, db: None) -> None:
    User.objects.create_user("guest", password=PASSWORD)
    assert log_in(client, "guest").status_code == 200
    assert client.get(INDEX).status_code == 302


def test_local_login_can_be_switched_off(client: Browser, administrator: User, settings: Settings) -> None:
    settings.SANDBOX_LOCAL_LOGIN = False
    page = client.get(LOGIN).content.decode()
    assert 'name="password"' not in page and "passkey" not in page
    assert log_in(client).status_code == 403
    assert client.post(reverse("mfa_login_webauthn"), {"credential": "{}"}).status_code == 403
    assert client.get(INDEX).status_code == 302


def test_switching_it_off_ends_sessions(client: Browser, administrator: User, settings: Settings) -> None:
    log_in(client)
    settings.SANDBOX_LOCAL_LOGIN = False
    assert client.get(INDEX)["Location"] == f"{LOGIN}?next=/admin/"
    settings.SANDBOX_LOCAL_LOGIN = True
    assert client.get(INDEX).status_code == 302


def test_a_session_lasts_a_day_at_most(client: Browser, administrator: User, settings: Settings) -> None:
    settings.SESSION_COOKIE_AGE = -1
    log_in(client)
    assert client.get(INDEX).status_code == 302


REQUIRED = [("administrators", "admin", True), ("everyone", "aud", True), ("administrators", "aud", False)]


@pytest.mark.parametrize("who, name, asked", [*REQUIRED, ("optional", "admin", False)])
def test_a_required_second_factor_is_asked_for(
    client: Browser, administrator: User, settings: Settings, who: str, name: str, asked: bool
) -> None:
    User.objects.create_user("aud", password=PASSWORD, is_staff=True)
    settings.SANDBOX_SECOND_FACTOR = who
    log_in(client, name)
    for path in (INDEX, "/admin/pool/", "/admin/auth/user/"):
        assert (client.get(path).get("Location") == SECURITY) is asked
    assert client.get(SECURITY).status_code == 200


def test_whoever_has_shown_one_is_let_in(client: Browser, app: Authenticator, settings: Settings) -> None:
    settings.SANDBOX_SECOND_FACTOR = "everyone"
    log_in(client)
    give(client, code())
    assert client.get(INDEX).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "signup/",
        "account/signup/",
        "password/reset/",
        "account/email/",
        "account/password/change/",
        "account/login/",
    ],
)
def test_there_are_no_other_pages_of_the_library(browser: Browser, path: str) -> None:
    assert browser.get(f"/admin/{path}").status_code == 404
    assert browser.get(f"/accounts/{path}").status_code == 404
