import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.test import override_settings
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from scripts.chromium import DESKTOP, chromium
from tests.live import Platform

PASSWORD = "correct horse battery staple"
# Rules of axe that take half of its time, and whose findings are never more than minor or moderate.
UNREPORTED = ("hidden-content", "region")
# Its viewer of PDFs.
THE_BROWSER_ITSELF = ("chrome:", "chrome-extension:")
# What it says of a preview with a script, which it does not run.
SCRIPT_NOT_RUN = "Blocked script execution in "
Open = Callable[..., Page]
expect.set_options(timeout=20_000)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """This folder's: while Playwright's event loop runs, Django refuses its database to this thread."""
    with chromium() as running:
        yield running


def person(platform: Platform, name: str, role: str) -> str:
    """Somebody with this role, who logs in by `session_of`. Returns the name."""
    platform.sql(
        "INSERT INTO auth_user"
        " (username, password, is_superuser, first_name, last_name, email, is_staff, is_active, date_joined)"
        " VALUES (%s, '!', false, '', '', '', true, true, now()) ON CONFLICT DO NOTHING",
        name,
    )
    platform.sql(
        "INSERT INTO auth_user_groups (user_id, group_id) SELECT u.id, g.id FROM auth_user u, auth_group g"
        " WHERE u.username = %s AND g.name = %s ON CONFLICT DO NOTHING",
        name,
        role,
    )
    return name


def session_of(platform: Platform, user: str) -> Any:
    """The cookie of a session. A login would cost two slow hashes and two pages."""
    (row,) = platform.sql("SELECT id, password FROM auth_user WHERE username = %s", user)
    with override_settings(SECRET_KEY=platform.environment["DJANGO_SECRET_KEY"]):
        text = SessionStore().encode(
            {
                SESSION_KEY: str(row["id"]),
                BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
                HASH_SESSION_KEY: User(**row).get_session_auth_hash(),
            }
        )
    key = secrets.token_hex(16)
    platform.sql("INSERT INTO django_session VALUES (%s, %s, now() + interval '1 day')", key, text)
    return {"name": settings.SESSION_COOKIE_NAME, "value": key, "url": platform.url}


@pytest.fixture
def open_page(browser: Browser, platform: Platform) -> Iterator[Open]:
    """A page of somebody who is logged in. In the end nothing may have been wrong with any of them."""
    contexts, wrong = [], list[str]()

    def heard(page: Page, said: ConsoleMessage) -> None:
        if said.type == "error" and not said.text.startswith(SCRIPT_NOT_RUN):
            wrong.append(f"{page.url}: {said.text}")

    def watch(page: Page) -> None:
        page.on("console", lambda said: heard(page, said))
        page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))

    def went_out(address: str) -> None:
        if not address.startswith((platform.url, "data:", "blob:", *THE_BROWSER_ITSELF)):
            wrong.append(f"a request to {address}")

    def opened(user: str = "admin", size: tuple[int, int] = DESKTOP, scheme: str = "light") -> Page:
        viewport = {"width": size[0], "height": size[1]}
        context = browser.new_context(viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
        contexts.append(context)
        context.set_default_timeout(20_000)
        context.on("request", lambda request: went_out(request.url))
        page = context.new_page()
        watch(page)
        if user:
            context.add_cookies([session_of(platform, user)])
            page.goto(f"{platform.url}/admin/")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong, "\n".join(wrong)


def write_program(page: Page, program: str) -> None:
    """Into the playground's editor, in place of what is there."""
    page.get_by_role("textbox", name="Program").fill(program)


def violations(page: Page, *, only: str = "") -> list[str]:
    """What axe calls serious or critical, of all its rules or of `only` one."""
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    options |= {"runOnly": [only]} if only else {"rules": {rule: {"enabled": False} for rule in UNREPORTED}}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{page.url}: {each['id']}: {each['help']}: {each['nodes'][0]['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
