from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from scripts.chromium import DESKTOP, chromium, log_in
from tests.live import Platform

PASSWORD = "correct horse battery staple"
# Its viewer of PDFs.
THE_BROWSER_ITSELF = ("chrome:", "chrome-extension:")
Open = Callable[..., Page]
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A module's: while Playwright's event loop runs, Django refuses its database to this thread."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def cookies_of_admin() -> list[Any]:
    """The cookies of the module's first login: each further login would cost a slow hash and a page."""
    return []


@pytest.fixture
def open_page(browser: Browser, platform: Platform, cookies_of_admin: list[Any]) -> Iterator[Open]:
    """A page of somebody who has logged in. In the end nothing may have been wrong with any of them."""
    contexts, wrong = [], list[str]()

    def heard(page: Page, said: ConsoleMessage) -> None:
        if said.type == "error":
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
        if user == "admin" and cookies_of_admin:
            context.add_cookies(cookies_of_admin)
            page.goto(f"{platform.url}/admin/")
        elif user:
            log_in(page, platform.url, user, PASSWORD)
        if user == "admin" and not cookies_of_admin:
            cookies_of_admin.extend(context.cookies())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong, "\n".join(wrong)


def write_program(page: Page, program: str) -> None:
    """Into the playground's editor, in place of what is there."""
    page.get_by_role("textbox", name="Program").fill(program)


def violations(page: Page) -> list[str]:
    """What axe calls serious or critical."""
    found = Axe().run(page).response["violations"]
    return [
        f"{page.url}: {each['id']}: {each['help']}: {each['nodes'][0]['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
