"""Every page there is, as it comes: on a desktop and a phone, in the light and in the dark."""

import json
import re
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Page, expect

from scripts.chromium import PHONE
from tests.browser.conftest import PASSWORD, Open, violations
from tests.live import Platform, eventually

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
# Of axe's rules, the one that depends on the colours.
CONTRAST = "color-contrast"
SIZES = ((1440, 900), PHONE)
# As the theme does it: from the media query, but only when it loads.
RECOLOUR = """async dark => {
    document.documentElement.classList.toggle('dark', dark);
    await new Promise(requestAnimationFrame);
    const passing = each => each.effect.getTiming().iterations !== Infinity;
    document.getAnimations().filter(passing).forEach(each => each.finish());
}"""


@pytest.fixture(scope="module")
def addresses(platform: Platform) -> Iterator[list[str]]:
    """The forms, and each list of the admin with a row. Whoever adds a table adds a row of it to `rows`."""
    platform.run("def main(): raise ValueError(7)")
    platform.run(PROGRAM)
    # A login in earnest: of those, too, there are lists.
    with requests.Session() as http:
        form = http.get(f"{platform.url}/admin/login/", timeout=30)
        token = re.search('name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
        assert token
        data = {"login": "admin", "username": "admin", "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
        http.post(f"{platform.url}/admin/login/", data=data, headers={"Referer": platform.url}, timeout=30)
        http.get(f"{platform.url}/admin/", timeout=30)
    eventually(lambda: platform.sql("SELECT id FROM executions_failuregroup"), "the failure is grouped")
    try:
        written = platform.manage("shell", "-v0", "-c", "from tests.browser import rows; rows.main()")
        found, empty = json.loads(written.splitlines()[-1])
        assert not empty, f"no row of {empty}"
        yield [f"{platform.url}{address}" for address in found] + [
            f"{platform.url}/admin/{form}" for form in FORMS
        ]
    finally:
        platform.manage("shell", "-v0", "-c", "from tests.browser import rows; rows.empty()")


def looked_at(page: Page, address: str) -> list[str]:
    """What is wrong with the page on a desktop and a phone, in the light and in the dark, of one load."""
    answer = page.goto(address)
    if answer is None or answer.status != 200:
        return [f"{address}: {answer and answer.status}"]
    wrong = []
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.evaluate(RECOLOUR, scheme == "dark")
            # Its other rules read what is the same in all colours.
            found = violations(page, only=CONTRAST if scheme == "dark" else "")
            wrong += [f"{width} {scheme} {each}" for each in found]
        shown = page.evaluate("document.documentElement.scrollWidth")
        if shown > width:
            wrong.append(f"{address}: {shown} pixels wide at {width}")
    return wrong


@pytest.mark.parametrize("half", [0, 1])
def test_pages(open_page: Open, platform: Platform, addresses: list[str], half: int) -> None:
    page = open_page(size=SIZES[0])
    links = page.locator("#nav-sidebar a").evaluate_all("links => links.map(link => link.href)")
    found = dict.fromkeys([link for link in links if link.startswith(platform.url)] + addresses)
    page.goto(f"{platform.url}/admin/audit/trailentry/")
    links = page.locator("#result_list tbody a[href*='/trailentry/']").evaluate_all(
        "links => links.map(l => l.href)"
    )
    found |= dict.fromkeys(links[:1])
    assert len(found) > 60
    # Two tests, so that two processes can share them.
    wrong = [each for address in list(found)[half::2] for each in looked_at(page, address)]
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


def test_alerts_on_a_phone_have_low_rows(open_page: Open, platform: Platform) -> None:
    platform.sql(
        "INSERT INTO alerts_alert (rule_name, condition, severity, subject, value, detail, link, state, since,"
        " fired_at, resolved_at, resolution) VALUES ('Most executions of a client fail', 'failures',"
        " 'warning', 'client ragflow', 9, 'Any failure: 9 of 9 executions (100 %%) in the last 1 h.', '',"
        " 'resolved', now(), now(), now(), 'x')"
    )
    page = open_page(size=PHONE)
    page.goto(f"{platform.url}/admin/alerts/alert/")
    row = page.locator("#result_list tr.data-row", has_text="client ragflow").first
    expect(row.locator(".field-begun")).to_be_visible()
    box = row.bounding_box()
    assert box and box["height"] < 200


def test_form_of_a_channel_shows_the_fields_of_its_kind(open_page: Open, platform: Platform) -> None:
    page = open_page()
    page.goto(f"{platform.url}/admin/alerts/channel/add/")
    recipients, url = page.locator("#id_recipients"), page.locator("#id_url")
    for kind, is_mail in (("mail", True), ("slack", False), ("webhook", False), ("mail", True)):
        page.locator("#id_kind").select_option(kind)
        expect(recipients).to_be_visible(visible=is_mail)
        expect(url).to_be_visible(visible=not is_mail)
