"""What an administrator does with an empty installation, and what a client used and was refused."""

import pytest
import requests
from playwright.sync_api import expect

from scripts.chromium import DESKTOP, PHONE
from tests.browser.conftest import Open, person, violations
from tests.live import TOKEN, Platform, eventually

pytestmark = pytest.mark.needs_docker

PROGRAM = "def main():\n    return sum(range(1_000_000))\n"


def test_first_steps_lead_through_on_a_phone(open_page: Open, platform: Platform) -> None:
    platform.sql("DELETE FROM console_firststep")
    page = open_page(person(platform, "newcomer", "administrator"), size=PHONE, scheme="dark")
    dashboard = f"{platform.url}/admin/"
    card = page.locator("section", has=page.get_by_role("heading", name="First steps"))
    card.get_by_text("Settings to connect a caller").click()
    expect(card.locator("#ragflow-settings")).to_contain_text("SANDBOX_HOST=sandbox-executor-manager")
    expect(card.locator("#curl-call")).to_contain_text(f"{platform.url}/api/v1/executions")
    assert not violations(page)

    card.get_by_role("link", name="Open the playground").click()
    page.locator("#run").click()
    expect(page.locator("#state")).to_have_text("Succeeded")
    platform.run(PROGRAM)
    page.goto(dashboard)
    expect(card).to_contain_text("done Run a program")
    expect(card).to_contain_text("done Connect RAGFlow")
    card.get_by_role("link", name="Limits of ").click()
    page.get_by_label("Runs per minute").fill("1000000")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url("**/clients/client/")
    page.goto(dashboard)
    card.get_by_role("link", name="Open the trail").click()
    page.wait_for_url("**/trailentry/")
    page.goto(dashboard)
    expect(card).to_have_count(0)
    platform.sql("UPDATE executions_client SET max_runs_per_minute = NULL")

    page.goto(f"{dashboard}about/")
    page.get_by_role("link", name="First steps").click()
    expect(card).to_contain_text("all done")
    assert not violations(page)


def test_what_was_refused_is_seen_within_seconds(open_page: Open, platform: Platform) -> None:
    platform.sql("UPDATE executions_client SET max_runs_per_day = 1 WHERE name = 'ragflow'")
    body = {"runtime": "python", "code": "print(1)", "wait": 10}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for _ in range(3):
        answer = requests.post(f"{platform.url}/api/v1/executions", json=body, headers=headers, timeout=60)
    platform.sql("UPDATE executions_client SET max_runs_per_day = NULL")
    assert answer.status_code == 429
    counted = "SELECT sum(count) AS n FROM usage_refusal WHERE kind = 'daily' HAVING sum(count) >= 2"
    eventually(lambda: platform.sql(counted), "the web to write its count")
    page = open_page(size=DESKTOP)
    page.get_by_role("link", name="Usage and quotas").click()
    expect(page.locator("table").first).to_contain_text("ragflow")
    page.get_by_role("link", name="Client and day").click()
    expect(page.locator("table").nth(1)).to_contain_text("Runs per day")
    assert not violations(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert "refused_daily" in download.value.path().read_text()
