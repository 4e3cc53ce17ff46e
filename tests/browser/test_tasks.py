"""The six tasks that people come for, from the dashboard to the end: docs/console.md has their clicks and seconds.

Each is done with what the pages say, by the words on them. The clicks may not become more; the seconds are a figure.
"""

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Open, person
from tests.live import Platform
from tests.scheduling import FIGURE

pytestmark = pytest.mark.needs_docker

# Of the keystroke-level model (Card, Moran and Newell, 1980): to decide, to point and click, to type one character.
DECIDE_S, CLICK_S, KEY_S = 1.35, 1.3, 0.28
RULES = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}
NEWER: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}


class Hand:
    """Does what a person does, and counts it."""

    def __init__(self, page: Page, task: str, record: Callable[[str, object], None]) -> None:
        self.page, self._task, self._record = page, task, record
        self.clicks = self.keys = self.decisions = 0
        self._since = time.monotonic()

    def click(self, what: Locator) -> None:
        what.click()
        self.clicks += 1
        self.decisions += 1

    def write(self, what: Locator, text: str) -> None:
        what.fill(text)
        self.clicks += 1
        self.keys += len(text)
        self.decisions += 1

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)
        self.keys += 1

    def link(self, name: str | re.Pattern[str]) -> None:
        self.click(self.page.get_by_role("link", name=name, exact=isinstance(name, str)).first)

    def button(self, name: str | re.Pattern[str]) -> None:
        self.click(self.page.get_by_role("button", name=name, exact=isinstance(name, str)).first)

    def ends(self, *, clicks: int) -> None:
        """The task is done, with at most so many clicks.

        One figure in seconds is measured, without a person; the other adds a person by the model.
        """
        measured = time.monotonic() - self._since
        person = measured + self.decisions * DECIDE_S + self.clicks * CLICK_S + self.keys * KEY_S
        figure = f"{self.clicks} clicks, {self.keys} keys, {measured:.1f} s measured, {person:.0f} s with a person"
        self._record(FIGURE, f"{self._task}: {figure}")
        assert self.clicks <= clicks


Begin = Callable[[Page], Hand]


@pytest.fixture
def hand(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Begin:
    task = request.node.name.removeprefix("test_").replace("_", " ")
    return lambda page: Hand(page, task, record_property)


def client(platform: Platform, name: str) -> None:
    program = f"from clients.models import Client; Client.objects.create_with_token({name!r}, {name * 4!r})"
    platform.manage("shell", "-c", program)


def submit(platform: Platform, token: str, **body: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    wanted = {"runtime": "python", "code": "def main(): return 1", "mode": "function", "wait": 30} | body
    return requests.post(f"{platform.url}/api/v1/executions", json=wanted, headers=headers, timeout=60)


def test_find_who_ran_a_word_on_a_day(open_page: Open, platform: Platform, hand: Begin) -> None:
    client(platform, "reports")
    assert submit(platform, "reports" * 4, code="def main(): return 'quarterly xylophone'").ok
    assert submit(platform, "reports" * 4).ok
    page = open_page(user=person(platform, "ann", "auditor"))
    today = datetime.now(UTC).replace(hour=0, minute=0)
    me = hand(page)
    me.link("Executions")
    me.write(page.locator("#searchbar"), "xylophone")
    me.press("Enter")
    me.click(page.locator("summary", has_text="Custom"))
    me.write(page.get_by_label("From (UTC)"), f"{today:%Y-%m-%dT%H:%M}")
    me.write(page.get_by_label("To (UTC)"), f"{today + timedelta(days=1):%Y-%m-%dT%H:%M}")
    me.click(page.locator(".time-range").get_by_role("button", name="Apply"))
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    expect(page.locator("#result_list mark").first).to_have_text("xylophone")
    expect(page.locator("#result_list")).to_contain_text("reports")
    me.ends(clicks=6)
    # Another day has none.
    page.goto(re.sub(r"(since|until)=\d{4}", r"\1=2001", page.url))
    expect(page.locator("#changelist")).to_contain_text("Nothing matches")


def test_cut_a_clients_memory(open_page: Open, platform: Platform, hand: Begin) -> None:
    client(platform, "cutter")
    page = open_page()
    me = hand(page)
    me.link("Clients")
    me.link("cutter")
    me.write(page.get_by_label("Memory", exact=True), "128 MiB")
    me.button("Save")
    page.wait_for_url("**/client/")
    refused = submit(platform, "cutter" * 4, limits={"memory_bytes": 256 << 20})
    assert refused.status_code == 422, refused.text
    assert "128 MiB" in refused.text
    me.ends(clicks=4)


def test_see_why_a_run_was_refused(open_page: Open, platform: Platform, hand: Begin) -> None:
    answer = platform.run("import subprocess\ndef main(): return 1")
    assert answer["exit_code"] != 0
    page = open_page(user=person(platform, "ann", "auditor"))
    me = hand(page)
    me.link("Executions")
    row = page.locator("#result_list tbody tr").first
    expect(row).to_contain_text("Rejected")
    me.click(row.locator("th a").first)
    expect(page.locator(".explanation")).to_contain_text("The code policy rejected the program before it ran")
    # Not the program, which has the word as well.
    rules = page.locator("h3", has_text="Code policy").locator("xpath=following-sibling::table[1]")
    expect(rules).to_contain_text("line 1")
    expect(rules).to_contain_text("subprocess")
    me.ends(clicks=2)


def test_roll_a_profile_back(open_page: Open, platform: Platform, hand: Begin) -> None:
    profile = platform.create_profile("rolled", RULES)
    platform.add_revision(profile, NEWER)
    page = open_page()
    me = hand(page)
    me.link("Seccomp profiles")
    me.link("rolled")
    me.click(page.get_by_role("button", name=re.compile("revision 1|Roll back|Activate")).first)
    if page.get_by_label("Reason").count():
        me.write(page.get_by_label("Reason"), "mkdir must stay refused")
        me.button("Activate without proof")
    query = (
        "SELECT number FROM seccomp_profiles_seccomprevision r JOIN seccomp_profiles_seccompprofile p"
        " ON p.active_id = r.id WHERE p.id = %s"
    )
    expect(page.locator("#main")).to_contain_text("Revision 1 is in force.")
    assert platform.sql(query, profile) == [{"number": 1}]
    me.ends(clicks=5)


def test_rotate_a_token(open_page: Open, platform: Platform, hand: Begin) -> None:
    client(platform, "rotating")
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    me = hand(page)
    me.link("Clients")
    me.link("rotating")
    me.button(re.compile("^New token"))
    me.click(page.locator("fieldset.choices label", has_text="another day"))
    me.button("Issue")
    message = page.locator("#main").get_by_text("Token of rotating, shown only now").first
    token = (message.locator("code").text_content() or "").strip()
    me.button(re.compile("^Copy"))
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").strip() == token
    assert submit(platform, token).ok
    assert submit(platform, "rotating" * 4).ok
    me.ends(clicks=6)


def test_prove_that_history_is_unchanged(open_page: Open, platform: Platform, hand: Begin) -> None:
    platform.run("def main(): return 1")
    platform.manage("seal")
    page = open_page(user=person(platform, "ann", "auditor"))
    me = hand(page)
    me.link("Seals")
    me.link(re.compile(f"^{datetime.now(UTC):%B}"))
    me.button(re.compile("^Verify"))
    receipt = page.get_by_role("link", name="Download the receipt")
    expect(receipt).to_be_visible(timeout=60_000)
    with page.expect_download() as download:
        me.click(receipt)
    expect(page.locator("#content")).to_contain_text("No findings")
    receipt_of = json.loads(download.value.path().read_text())
    assert receipt_of["seals"] and receipt_of["verification"]["finding_count"] == 0
    me.ends(clicks=4)
