"""What waits, what failed, what is told to others: with rows that real processes left."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect

from scripts.chromium import PHONE
from tests.browser.conftest import Open, person, violations
from tests.live import TOKEN, Platform, eventually

pytestmark = pytest.mark.needs_docker

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
NOBODY = "https://nobody.invalid/hook"


def submit(platform: Platform, **wanted: Any) -> str:
    body = {"runtime": "python", "code": "print(1)"} | wanted
    answer = requests.post(f"{platform.url}/api/v1/executions", json=body, headers=HEADERS, timeout=60)
    assert answer.status_code in (201, 202), answer.text
    return str(answer.json()["id"])


def fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert not violations(page)


@pytest.fixture
def delivered(platform: Platform) -> Iterator[str]:
    """An execution whose callback was tried in vain."""
    platform.spawn("callbacks")
    execution = submit(platform, callback_url=NOBODY, wait=30)
    tried = "SELECT 1 FROM executions_delivery WHERE execution_id = %s AND last_error <> ''"
    eventually(lambda: platform.sql(tried, execution), "an attempt was made")
    yield execution
    platform.kill("callbacks")


def test_a_delivery_is_looked_at_and_sent_again(open_page: Open, platform: Platform, delivered: str) -> None:
    page = open_page(user=person(platform, "olga", "operator"))
    page.get_by_role("link", name="Deliveries").click()
    row = page.get_by_role("row", name=re.compile(delivered[-12:]))
    expect(row).to_contain_text("Pending")
    expect(row).to_contain_text("DNS does not know the host.")
    assert not violations(page)
    row.get_by_role("link", name="https://nobody.invalid").click()
    expect(page.get_by_text(NOBODY)).to_be_visible()
    page.get_by_role("button", name="Send again now").click()
    expect(page.locator("#main")).to_contain_text("1 delivery queued to be sent again.")
    attempts = "SELECT a.id FROM executions_deliveryattempt a JOIN executions_delivery d ON d.id = delivery_id"
    eventually(
        lambda: len(platform.sql(f"{attempts} WHERE execution_id = %s", delivered)) > 1, "it was sent again"
    )
    fits_a_phone(page)


def test_an_auditor_sees_deliveries_and_sends_none(open_page: Open, platform: Platform, delivered: str) -> None:
    page = open_page(user=person(platform, "anna", "auditor"))
    page.get_by_role("link", name="Deliveries").click()
    page.get_by_role("row", name=re.compile(delivered[-12:])).get_by_role(
        "link", name="https://nobody.invalid"
    ).click()
    expect(page.get_by_text(NOBODY)).to_be_visible()
    expect(page.get_by_role("button", name="Send again now")).to_have_count(0)
    fits_a_phone(page)


def test_what_waits_is_seen_and_cancelled(open_page: Open, platform: Platform) -> None:
    platform.kill("worker")
    try:
        execution = submit(platform)
        page = open_page(user=person(platform, "olga", "operator"))
        page.get_by_role("link", name="Queued tasks").click()
        row = page.get_by_role("row", name=re.compile(execution))
        expect(row).to_contain_text("Run a program")
        expect(row).to_contain_text("ragflow")
        expect(row).to_contain_text("Waiting for a worker")
        assert not violations(page)
        row.get_by_role("checkbox").check()
        page.get_by_label("Select action to run").select_option("cancel")
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.locator("#main")).to_contain_text("1 cancelled.")
        expect(page.get_by_role("row", name=re.compile(execution))).to_contain_text("Cancelled")
        fits_a_phone(page)
    finally:
        platform.spawn("worker")
        platform.until_ready()


def test_a_failed_task_says_why_and_is_tried_again(open_page: Open, platform: Platform) -> None:
    script = "from console.doctor import EXAMINE; EXAMINE.enqueue()"
    platform.manage("shell", "-c", script)  # without the name of who asks: it cannot work
    eventually(lambda: platform.sql("SELECT 1 FROM django_q_task WHERE NOT success"), "a worker failed at it")
    page = open_page(user=person(platform, "olga", "operator"))
    page.get_by_role("link", name="Failed tasks").click()
    row = page.get_by_role("row", name=re.compile("Run the doctor's checks"))
    expect(row).to_contain_text("TypeError: examine() missing 1 required positional argument")
    assert not violations(page)
    row.get_by_role("link", name="Run the doctor's checks").click()
    expect(page.locator("#main")).to_contain_text("sandbox_platform/kit/cluster.py")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#main")).to_contain_text("1 queued.")
    asked = "SELECT 1 FROM console_doctorreport WHERE asked_by = 'olga'"
    eventually(lambda: platform.sql(asked), "a worker looks around")
    fits_a_phone(page)


def test_schedule_says_what_is_done_by_itself(open_page: Open, platform: Platform) -> None:
    page = open_page(user=person(platform, "anna", "auditor"))
    page.get_by_role("link", name="Scheduled jobs").click()
    expect(page.get_by_role("row", name=re.compile("^Seal the history"))).to_contain_text("1 h")
    expect(page.locator("#content")).to_contain_text("by 1 keeper")
    fits_a_phone(page)
