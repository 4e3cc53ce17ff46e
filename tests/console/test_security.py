import ipaddress
import os
import subprocess
import sys

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client as Browser
from django.urls import reverse
from pytest_django import Settings

from console import devices
from tests.live import ROOT

LOGIN = reverse("admin:login")
PASSWORD = "correct horse battery staple"


def log_in(browser: Browser, password: str) -> int:
    return browser.post(LOGIN, {"username": "admin", "password": password}).status_code


def test_no_script_but_our_own_files_runs(browser: Browser) -> None:
    policy = browser.get(reverse("admin:index"))["Content-Security-Policy"]
    directives = dict(directive.split(" ", 1) for directive in policy.split("; "))
    assert directives["script-src"] == "'self'"
    assert directives["default-src"] == "'none'"
    assert "unsafe-inline" not in directives["style-src"]


def test_a_nonce_is_used_once(browser: Browser) -> None:
    first, second = (browser.get(reverse("admin:index"))["Content-Security-Policy"] for _ in range(2))
    assert first != second


def test_wrong_passwords_come_to_an_end(client: Browser, administrator: User) -> None:
    assert [log_in(client, "wrong") for _ in range(5)] == [200, 200, 200, 200, 429]
    assert log_in(client, PASSWORD) == 429


def test_others_can_still_log_in(client: Browser, administrator: User) -> None:
    for _ in range(5):
        log_in(client, "wrong")
    assert (
        Browser(REMOTE_ADDR="192.0.2.7").post(LOGIN, {"username": "admin", "password": PASSWORD}).status_code
        == 302
    )


def test_the_lock_is_for_the_caller_s_address_behind_a_proxy(
    client: Browser, administrator: User, settings: Settings
) -> None:
    settings.SANDBOX_TRUSTED_PROXIES = [ipaddress.ip_network("127.0.0.0/8")]
    form = {"username": "admin", "password": "wrong"}
    for _ in range(5):
        client.post(LOGIN, form, headers={"X-Forwarded-For": "192.0.2.7"})
    assert client.post(LOGIN, form, headers={"X-Forwarded-For": "192.0.2.7"}).status_code == 429
    good = form | {"password": PASSWORD}
    assert client.post(LOGIN, good, headers={"X-Forwarded-For": "192.0.2.8"}).status_code == 302


@pytest.fixture
def known(administrator: User) -> Browser:
    """A browser in which the administrator has logged in before, and is logged out."""
    browser = Browser()
    assert log_in(browser, PASSWORD) == 302
    browser.cookies.pop("sessionid")
    cache.clear()
    return browser


def test_nobody_behind_the_same_address_locks_an_administrator_out(known: Browser) -> None:
    assert [log_in(Browser(), "wrong") for _ in range(5)][-1] == 429
    assert log_in(known, PASSWORD) == 302


def test_a_known_browser_guesses_no_more_than_a_few_passwords(known: Browser) -> None:
    for _ in range(devices.MOST_FAILURES):
        assert log_in(known, "wrong") == 200
    assert [log_in(known, "wrong") for _ in range(5)][-1] == 429
    assert log_in(known, PASSWORD) == 429


def test_a_known_browser_is_known_for_its_user_only(known: Browser) -> None:
    User.objects.create_user("another", password=PASSWORD, is_staff=True)
    form = {"username": "another", "password": "wrong"}
    assert [known.post(LOGIN, form).status_code for _ in range(5)][-1] == 429


def test_a_new_password_makes_browsers_unknown(known: Browser, administrator: User) -> None:
    administrator.set_password("another horse battery staple")
    administrator.save()
    assert [log_in(known, "wrong") for _ in range(5)][-1] == 429


@pytest.mark.parametrize("value", ["", "x", "a:b:c"])
def test_a_made_up_cookie_is_none(client: Browser, administrator: User, value: str) -> None:
    client.cookies[devices.COOKIE] = value
    assert [log_in(client, "wrong") for _ in range(5)][-1] == 429


def test_right_password_forgets_the_wrong_ones(client: Browser, administrator: User) -> None:
    for _ in range(4):
        log_in(client, "wrong")
    assert log_in(client, PASSWORD) == 302
    assert not AccessAttempt.objects.exists()


def test_no_password_is_kept(client: Browser, administrator: User) -> None:
    log_in(client, "nearly-my-password")
    assert "nearly-my-password" not in str(AccessAttempt.objects.values())


@pytest.mark.parametrize("https", ["True", "False"])
def test_deployment_check(https: str) -> None:
    env = os.environ | {
        "DJANGO_HTTPS": https,
        "DJANGO_SECRET_KEY": "Unguessable-0123456789" * 3,
        "DJANGO_DEBUG": "False",
    }
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    complaints = {word for word in done.stderr.split() if "security." in word}
    # Without a proxy for HTTPS these four are the price of http://localhost.
    plain = {"(security.W004)", "(security.W008)", "(security.W012)", "(security.W016)"}
    assert complaints == (set() if https == "True" else plain), done.stderr


def test_plain_http_is_for_machines_only(client: Browser, db: None, settings: object) -> None:
    settings.SECURE_SSL_REDIRECT = True  # type: ignore[attr-defined]
    settings.SECURE_REDIRECT_EXEMPT = [r"^(?!admin/)"]  # type: ignore[attr-defined]
    assert client.get("/healthz").status_code == 200
    assert client.get(LOGIN)["Location"] == f"https://testserver{LOGIN}"
