"""Passkeys, authenticator apps and single sign-on as a person meets them: the web alone, with its role in Postgres."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from scripts.chromium import DESKTOP, PHONE, log_in
from tests import database
from tests.browser.conftest import PASSWORD, person, violations
from tests.console.sign_on import openid
from tests.console.sign_on.openid import Provider
from tests.live import Platform, eventually


class Web(Platform):
    """The web without worker and keeper, under a name: passkeys have none for an address."""

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def start(self, *runtimes: str) -> None:
        self.postgres = database.bootstrapped(self.folder, self._settings)
        self.postgres.start()
        self.manage("grant_roles")
        self.spawn("web")

        def answers() -> bool:
            try:
                return requests.get(f"{self.url}/admin/login/", timeout=5).ok
            except requests.RequestException:
                return False

        eventually(answers, "the login page answers")

    def stop(self) -> None:
        if "web" in self.processes:
            self.processes["web"].terminate()
            self.kill("web")
        self.postgres.stop()


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with openid.running() as running:
        running.knows("ann-1", preferred_username="ann", groups=["watch"])
        yield running


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Web]:
    running = Web(
        tmp_path_factory.mktemp("web"),
        roles=True,
        SANDBOX_OIDC_ISSUER=provider.issuer,
        SANDBOX_OIDC_NAME="Example login",
        SANDBOX_OIDC_CLIENT_ID="sandbox",
        SANDBOX_OIDC_CLIENT_SECRET="secret",
        SANDBOX_OIDC_ROLES="watch=auditor",
        SANDBOX_OIDC_LOGOUT="True",
    )
    try:
        running.start()
        yield running
    finally:
        running.stop()


@contextmanager
def opened(browser: Browser, size: tuple[int, int], scheme: str = "light") -> Iterator[Page]:
    """A page of which nothing is wrong in the end: no script error, and nothing that the CSP refuses."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    context.set_default_timeout(20_000)
    page, wrong = context.new_page(), list[str]()

    def heard(said: ConsoleMessage) -> None:
        # Not at the provider, whose page is not ours.
        if said.type == "error" and page.url.startswith("http://localhost"):
            wrong.append(f"{page.url}: {said.text}")

    page.on("console", heard)
    page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))
    yield page
    context.close()
    assert not wrong, "\n".join(wrong)


def look(page: Page, name: str) -> None:
    """Nothing that axe finds, and nothing that is wider than the screen. `name`: what it is, for the failure."""
    assert not violations(page), name
    viewport = page.viewport_size
    assert viewport and page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], name


def with_password(web: Web, name: str) -> str:
    """Somebody with the administrator's password."""
    person(web, name, "administrator")
    web.sql(
        "UPDATE auth_user SET password = (SELECT password FROM auth_user WHERE username = 'admin')"
        " WHERE username = %s",
        name,
    )
    return name


def confirm(page: Page) -> None:
    expect(page.get_by_role("heading", name="Before something about your login changes")).to_be_visible()
    look(page, "confirm")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()


def log_out(page: Page, web: Web) -> None:
    page.context.clear_cookies()
    page.goto(f"{web.url}/admin/login/")


def methods(web: Web, name: str) -> list[str]:
    rows = web.sql(
        "SELECT after->>'method' AS method FROM audit_act WHERE kind = 'logged in' AND name = %s ORDER BY id",
        f"user {name}",
    )
    return [row["method"] for row in rows]


@pytest.mark.parametrize("size, scheme", [(DESKTOP, "light"), (PHONE, "dark")])
def test_a_passkey_is_added_and_logs_in_alone(
    browser: Browser, web: Web, size: tuple[int, int], scheme: str
) -> None:
    name = with_password(web, f"passkey-{scheme}")
    with opened(browser, size, scheme) as page:
        devtools = page.context.new_cdp_session(page)
        devtools.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
            "isUserVerified": True, "automaticPresenceSimulation": True,
        }  # fmt: skip
        devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        log_in(page, web.url, name, PASSWORD)
        page.goto(f"{web.url}/admin/account/")
        look(page, "security-empty")
        page.get_by_role("link", name="Add a passkey or security key").click()
        confirm(page)
        look(page, "add-key")
        page.get_by_label("Name").fill("This laptop")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.locator(".codes li")).to_have_count(10)
        look(page, "codes")
        page.reload()
        expect(page.locator(".codes li")).to_have_count(0)
        page.get_by_role("link", name="Done").click()
        expect(page.get_by_role("row", name="This laptop")).to_contain_text("alone, as a passkey")
        look(page, "security-key")
        log_out(page, web)
        look(page, "login")
        page.get_by_role("button", name="Log in with a passkey").click()
        page.wait_for_url(f"{web.url}/admin/")
        # With the password it is asked for as well.
        log_out(page, web)
        page.get_by_label("Username").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in", exact=True).click()
        look(page, "key-asked")
        page.get_by_role("button", name="Use a passkey or security key").click()
        page.wait_for_url(f"{web.url}/admin/")
        page.goto(f"{web.url}/admin/account/")
        page.get_by_role("link", name="Remove This laptop").click()
        confirm(page)
        look(page, "remove")
        page.get_by_role("button", name="Remove").click()
        expect(page.get_by_text("Security key removed.")).to_be_visible()
    assert methods(web, name) == ["password", "passkey", "password and security key"]
    assert not web.sql("SELECT * FROM mfa_authenticator")


def test_an_authenticator_app_is_added_and_asked_for(browser: Browser, web: Web) -> None:
    name = with_password(web, "phone")
    with opened(browser, PHONE) as page:
        log_in(page, web.url, name, PASSWORD)
        page.goto(f"{web.url}/admin/account/")
        page.get_by_role("link", name="Add an authenticator app").click()
        confirm(page)
        look(page, "add-app")
        secret = page.locator(".secret-key").inner_text()

        def code(steps: int) -> str:
            return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps))

        page.get_by_label("Code that the app shows now").fill("000 000")
        page.get_by_role("button", name="Add").click()
        expect(page.get_by_role("alert")).to_contain_text("Incorrect code")
        page.get_by_label("Code that the app shows now").fill(code(0))
        page.get_by_role("button", name="Add").click()
        expect(page.locator(".codes li")).to_have_count(10)
        recovery = page.locator(".codes li").first.inner_text()
        for given, method in ((lambda: code(1), "app"), (lambda: recovery, "recovery")):
            log_out(page, web)
            page.get_by_label("Username").fill(name)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Log in", exact=True).click()
            look(page, f"code-{method}")
            page.get_by_label("Code of your authenticator app").fill(given())
            page.get_by_role("button", name="Log in").click()
            page.wait_for_url(f"{web.url}/admin/")
        page.goto(f"{web.url}/admin/account/")
        expect(page.get_by_text("9 unused codes")).to_be_visible()
        look(page, "security-app")
    assert methods(web, name)[1:] == ["password and authenticator app", "password and recovery code"]


def test_single_sign_on(browser: Browser, web: Web, provider: Provider) -> None:
    with opened(browser, DESKTOP) as page:
        page.goto(f"{web.url}/admin/audit/trailentry/")
        look(page, "login-provider")
        page.get_by_role("link", name="Log in with Example login").click()
        page.wait_for_url(re.compile(re.escape(provider.issuer)))
        page.locator("[name=sub]").first.fill("ann-1")
        page.locator("button[type=submit], button").first.click()
        page.wait_for_url(f"{web.url}/admin/audit/trailentry/")
        page.goto(f"{web.url}/admin/account/")
        expect(page.get_by_text(f"logged in by OpenID Connect ({provider.issuer})")).to_be_visible()
        look(page, "security-provider")
        page.goto(f"{web.url}/admin/usersessions/usersession/")
        look(page, "sessions")
        page.locator("#logout-form").first.evaluate("form => form.requestSubmit()")
        page.wait_for_url(re.compile(re.escape(f"{provider.issuer}/oauth2/end_session?")))
        page.get_by_role("button", name="End session").click()
        page.wait_for_url(re.compile(re.escape(f"{web.url}/admin/login/?state=")))
        expect(page.get_by_role("link", name="Log in with Example login")).to_be_visible()
    assert methods(web, "ann") == [f"OpenID Connect ({provider.issuer})"]


def test_without_a_group_there_is_a_clear_page(browser: Browser, web: Web, provider: Provider) -> None:
    with browser.new_context(viewport={"width": PHONE[0], "height": PHONE[1]}).new_page() as page:
        page.goto(f"{web.url}/admin/login/openid/")
        page.locator("[name=sub]").first.fill("stranger")
        page.locator("button[type=submit], button").first.click()
        expect(page.get_by_text("No access")).to_be_visible()
        look(page, "no-access")


def test_a_recovery_link(browser: Browser, web: Web) -> None:
    said = web.manage("recover", "admin", "--url", web.url, service="web")
    address = re.search(r"http://\S+", said)
    assert address
    with opened(browser, PHONE) as page:
        page.goto(address[0])
        look(page, "recovery")
        page.get_by_role("button", name="Log in as admin").click()
        expect(page.get_by_text("You are logged in by a recovery link")).to_be_visible()
        look(page, "recovered")
