"""The allow-list in the browser, and what an execution's page says of its requests."""

import pytest
import uuid_utils.compat
from playwright.sync_api import expect

from scripts.chromium import PHONE
from tests.browser.conftest import Open, violations
from tests.live import Platform

pytestmark = pytest.mark.needs_docker


@pytest.fixture
def called_out(platform: Platform) -> str:
    """The id of an execution of whose requests one was refused."""
    platform.run("def main(): return 1")
    execution = platform.last_execution()["id"]
    # As a run with egress leaves it, before it has ended.
    (row,) = platform.sql(
        "INSERT INTO executions_execution SELECT (jsonb_populate_record(e, jsonb_build_object("
        "'id', %s::text, 'network', 'egress', 'status', 'running', 'outcome', '', 'finished_at', NULL,"
        " 'egress_rules', '[{\"domain\": \"a.example\"}]'::jsonb))).* FROM executions_execution e WHERE id = %s"
        " RETURNING id",
        str(uuid_utils.compat.uuid7()), execution,
    )  # fmt: skip
    for host, reason in (("api.example.com", ""), ("evil.example", "not_allowed")):
        platform.sql(
            "INSERT INTO executions_egressrequest (execution_id, at, method, host, port, allowed, reason)"
            " VALUES (%s, now(), 'CONNECT', %s, 443, %s, %s)",
            row["id"], host, not reason, reason,
        )  # fmt: skip
    return str(row["id"])


def test_a_rule_is_added_refused_and_in_the_trail(open_page: Open, platform: Platform) -> None:
    page = open_page()
    page.get_by_role("link", name="Egress rules").click()
    page.get_by_role("link", name="Add egress rule").first.click()
    page.get_by_label("Domain").fill("10.0.0.1")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#content, [id=main]").first).to_contain_text("Addresses cannot be allowed")
    page.get_by_label("Domain").fill(".Files.Example.org")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#result_list")).to_contain_text(".files.example.org")
    assert violations(page) == []
    page.get_by_role("link", name="Audit trail").click()
    expect(page.locator("#result_list")).to_contain_text(".files.example.org")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 900), PHONE])
def test_requests_are_on_the_page(
    open_page: Open, platform: Platform, called_out: str, size: tuple[int, int], scheme: str
) -> None:
    page = open_page(size=size, scheme=scheme)
    page.goto(f"{platform.url}/admin/executions/execution/{called_out}/change/")
    card = page.locator("section", has=page.get_by_role("heading", name="Requests"))
    expect(card).to_contain_text("2, 1 refused")
    expect(card).to_contain_text("evil.example:443")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert violations(page) == []
