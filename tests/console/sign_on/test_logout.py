"""Logging out here, and at the provider that somebody came through, if it is asked for and offered."""

import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest
import requests
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse
from pytest_django import Settings

from console.sign_on import methods
from people import provider as asking
from tests.console.sign_on.acting import log_in
from tests.console.sign_on.openid import Provider, query, sign_on
from tests.live import free_port
from tests.pages import words

pytestmark = pytest.mark.django_db
INDEX, LOGOUT = reverse("admin:index"), reverse("admin:logout")


@pytest.fixture
def leading_on(settings: Settings) -> None:
    settings.SANDBOX_OIDC_LOGOUT = True


def leave(browser: Browser) -> tuple[Any, str]:
    """The page of the logout, and the address to which it leads on."""
    answer = browser.post(LOGOUT)
    assert answer.status_code == 200
    assert browser.get(INDEX).status_code == 302  # logged out here in any case
    return words(answer.content.decode()), answer.get("Refresh", "").removeprefix("0; url=")


def test_a_logout_leads_to_the_provider_s_and_back(client: Browser, provider: Provider, leading_on: None) -> None:
    sign_on(client, provider, "ann-1")
    page, address = leave(client)
    assert "Going on to Example login" in page
    assert address.startswith(f"{provider.issuer}/oauth2/end_session?")
    form = requests.get(address, timeout=10).text
    assert "Recommended parameter" not in form  # which it says without an ID token
    back = query(address)["post_logout_redirect_uri"]
    assert back == "http://testserver/admin/login/" and f"{back}?state=" in form


def test_the_provider_is_told_whose_logout_it_is(client: Browser, provider: Provider, leading_on: None) -> None:
    sign_on(client, provider, "ann-1")
    sent = query(leave(client)[1])
    claims = json.loads(urlsafe_b64decode(sent["id_token_hint"].split(".")[1] + "=="))
    assert (claims["sub"], claims["iss"], sent["client_id"]) == ("ann-1", provider.issuer, "sandbox")


def test_without_the_setting_it_does_not(client: Browser, provider: Provider) -> None:
    sign_on(client, provider, "ann-1")
    assert methods.HINT not in client.session
    page, address = leave(client)
    assert (address, "You may still be logged in at Example login" in page) == ("", True)


def test_and_not_from_a_provider_that_does_not_offer_it(
    client: Browser, provider: Provider, leading_on: None, caplog: pytest.LogCaptureFixture
) -> None:
    sign_on(client, provider, "ann-1")
    del asking._client().server_metadata["end_session_endpoint"]
    page, address = leave(client)
    assert (address, "You may still be logged in at Example login" in page) == ("", True)
    assert "no end_session_endpoint" in caplog.text
    asking._client_of.cache_clear()


@pytest.mark.parametrize("endpoint", ["javascript:alert(1)", "ftp://x/", 5, "", None])
def test_a_strange_address_is_not_followed(
    client: Browser, provider: Provider, leading_on: None, endpoint: Any
) -> None:
    sign_on(client, provider, "ann-1")
    asking._client().server_metadata["end_session_endpoint"] = endpoint
    assert leave(client)[1] == ""
    asking._client_of.cache_clear()


def test_a_provider_that_is_away_keeps_nobody_logged_in(
    client: Browser, provider: Provider, leading_on: None, settings: Settings
) -> None:
    sign_on(client, provider, "ann-1")
    settings.SANDBOX_OIDC_ISSUER = f"http://127.0.0.1:{free_port()}"
    session = client.session
    session[methods.ISSUER] = settings.SANDBOX_OIDC_ISSUER
    session.save()
    page, address = leave(client)
    assert (address, "You may still be logged in" in page) == ("", True)


def test_after_a_password_there_is_nothing_to_end_there(
    client: Browser, provider: Provider, leading_on: None, administrator: User
) -> None:
    log_in(client)
    page, address = leave(client)
    assert (address, "Example login" in page) == ("", False)


def test_a_token_that_is_too_long_for_an_address_stays_here(
    client: Browser, provider: Provider, leading_on: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LONGEST_HINT", 10)
    sign_on(client, provider, "ann-1")
    sent = query(leave(client)[1])
    assert ("id_token_hint" in sent, sent["client_id"]) == (False, "sandbox")
