"""Every page there is, as it comes: on a desktop in the light and on a phone in the dark."""

import pytest
from playwright.sync_api import Page, expect

from scripts.chromium import DESKTOP, PHONE, log_in
from tests.browser.conftest import PASSWORD, Open, violations
from tests.live import Platform

pytestmark = pytest.mark.needs_docker

PROGRAM = """
import os
def main():
    os.makedirs('artifacts', exist_ok=True)
    open('artifacts/t.csv', 'w').write('a,b')
    print('x')
    return {'a': [1]}
"""
FORMS = (
    "auth/user/add/",
    "auth/group/add/",
    "clients/client/add/",
    "runtimes/runtime/add/",
    "seccomp_profiles/seccompprofile/add/",
    "alerts/channel/add/",
    "alerts/rule/add/",
    "alerts/rule/add/?condition=failures",
    "audit/retentionpolicy/add/",
    "redaction/redactionpattern/add/",
)
CHANGED = (
    "runtimes_runtime",
    "seccomp_profiles_seccompprofile",
    "executions_client",
    "executions_execution",
    "executions_token",
    "auth_user",
    "auth_group",
    "executions_sandbox",
    "axes_accesslog",
    "executions_failuregroup",
)

# Tables whose pages are in another room than their name says.
PLACES = {
    "executions_client": "clients_client",
    "executions_failuregroup": "failures_failuregroup",
    "executions_token": "clients_token",
    "executions_sandbox": "sandboxes_sandbox",
}


def addresses(page: Page, platform: Platform) -> list[str]:
    """From the menu, the forms, and one row of each list."""
    links = page.locator("#nav-sidebar a").evaluate_all("links => links.map(link => link.href)")
    found = list(dict.fromkeys(link for link in links if link.startswith(platform.url)))
    found += [f"{platform.url}/admin/{form}" for form in FORMS]
    for table in CHANGED:
        row = platform.sql(f"SELECT id FROM {table} ORDER BY 1 DESC LIMIT 1")
        if row:
            app, _, model = PLACES.get(table, table).rpartition("_")
            found.append(f"{platform.url}/admin/{app}/{model}/{row[0]['id']}/change/")
    return found


@pytest.mark.parametrize("size, scheme", [(DESKTOP, "light"), (PHONE, "dark")])
def test_pages(open_page: Open, platform: Platform, size: tuple[int, int], scheme: str) -> None:
    platform.run("def main(): raise ValueError(7)")
    platform.run(PROGRAM)
    page = open_page(user="", size=size, scheme=scheme)
    # In earnest: of logins, too, there is a list.
    log_in(page, platform.url, "admin", PASSWORD)
    wrong = []
    visited = addresses(page, platform)
    assert len(visited) > 30
    for address in visited:
        answer = page.goto(address)
        if answer is None or answer.status != 200:
            wrong.append(f"{address}: {answer and answer.status}")
            continue
        wrong += violations(page)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > size[0]:
            wrong.append(f"{address}: {width} pixels wide")
    assert not wrong, "\n".join(wrong)


def test_login_page(open_page: Open, platform: Platform) -> None:
    page = open_page(user="")
    page.goto(f"{platform.url}/admin/")
    assert not violations(page)


def test_menu_opens_on_a_phone(open_page: Open) -> None:
    page = open_page(size=PHONE)
    page.get_by_role("button", name="Open the menu").click()
    page.get_by_role("link", name="Playground", exact=True).click()
    page.wait_for_url("**/playground/")


def test_theme_is_kept(open_page: Open, platform: Platform) -> None:
    page = open_page()
    page.keyboard.press("Control+e")
    page.keyboard.press("Control+e")
    dark = page.evaluate("document.documentElement.classList.contains('dark')")
    page.reload()
    page.wait_for_function(
        "expected => document.documentElement.classList.contains('dark') === expected", arg=dark
    )


def test_history_on_a_phone_names_the_client_in_low_rows(open_page: Open, platform: Platform) -> None:
    platform.run(PROGRAM)
    page = open_page(size=PHONE)
    page.goto(f"{platform.url}/admin/executions/execution/")
    row = page.locator("#result_list tr.data-row").first
    expect(row.locator(".field-client")).to_be_visible()
    box = row.bounding_box()
    assert box and box["height"] < 200
