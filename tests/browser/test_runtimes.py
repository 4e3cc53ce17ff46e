"""A runtime looked after: tried out, changed and put back."""

import re

import pytest
from playwright.sync_api import Page, expect

from scripts.chromium import PHONE
from tests.browser.conftest import Open, person, violations
from tests.live import Platform

pytestmark = pytest.mark.needs_docker


def open_runtime(page: Page, platform: Platform, slug: str) -> int:
    (row,) = platform.sql("SELECT id FROM runtimes_runtime WHERE slug = %s", slug)
    page.goto(f"{platform.url}/admin/runtimes/runtime/{row['id']}/change/")
    return int(row["id"])


def test_smoke_programs_are_run_and_their_ends_shown(open_page: Open, platform: Platform) -> None:
    page = open_page()
    open_runtime(page, platform, "bash")
    page.get_by_role("link", name="Test run").click()
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#outcome")).to_contain_text("passed", timeout=120_000)
    expect(page.locator("#outcome")).to_contain_text("All ")
    assert not violations(page)
    page.get_by_role("link", name="hello", exact=True).click()
    expect(page.locator("#execution")).to_contain_text("smoke: hello")


def test_operator_tries_a_runtime_out_and_changes_none(open_page: Open, platform: Platform) -> None:
    platform.change_runtime("nodejs", open_files=3000)
    page = open_page(user=person(platform, "oda", "operator"))
    runtime = open_runtime(page, platform, "nodejs")
    expect(page.locator("#manifest")).to_have_text(re.compile("Differences from the manifest"))
    expect(page.get_by_role("button", name=re.compile("^Reset"))).to_have_count(0)
    page.get_by_role("link", name="Test run").click()
    page.get_by_role("button", name="Run", exact=True).click()
    query = "SELECT count(*) FROM executions_execution WHERE runtime_id = %s AND labels->>'user' = 'oda'"
    assert platform.sql(query, runtime)[0]["count"]


def test_a_field_is_put_back_to_its_manifest(open_page: Open, platform: Platform) -> None:
    platform.change_runtime("bash", memory_bytes=300 * 2**20, open_files=4000)
    page = open_page()
    open_runtime(page, platform, "bash")
    expect(page.get_by_role("row", name=re.compile("^Memory 300 MiB"))).to_be_visible()
    assert not violations(page)
    page.get_by_role("button", name="Reset Memory").click()
    expect(page.locator("#content")).to_contain_text("Warm sandboxes are replaced")
    assert not violations(page)
    page.get_by_role("button", name="Reset", exact=True).click()
    expect(page.get_by_role("row", name=re.compile("^Memory"))).to_have_count(0)
    expect(page.get_by_role("row", name=re.compile("^Open files 4000"))).to_be_visible()
    page.get_by_role("button", name="Reset all").click()
    page.get_by_role("button", name="Reset", exact=True).click()
    expect(page.locator("#manifest")).to_have_text("Manifest")


def test_limits_are_written_with_their_units(open_page: Open, platform: Platform) -> None:
    page = open_page()
    open_runtime(page, platform, "bash")
    # The tabs work with the keyboard, and show one section at a time.
    page.get_by_role("tab", name="General").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Limits")).to_be_focused()
    expect(page.get_by_role("tabpanel")).to_have_count(1)
    assert not violations(page)
    memory = page.locator("#id_memory_bytes")
    memory.fill("0.5 GiB")
    expect(page.locator(".field-memory_bytes .unit-hint")).to_have_text("= 536,870,912 bytes")
    memory.fill("half")
    expect(page.locator(".field-memory_bytes .unit-hint")).to_have_text("not a number of bytes")
    page.get_by_role("tab", name="General").click()
    page.get_by_role("button", name="Save", exact=True).first.click()
    page.get_by_role("alert").get_by_role("link", name="Memory").click()
    expect(memory).to_be_focused()
    assert not violations(page)
    memory.fill("512 MiB")
    page.get_by_role("tab", name="Warm sandboxes").click()
    page.locator("#id_pool_max").fill("10")
    expect(page.locator("[data-of=pool_max][data-each=memory]")).to_have_text("5 GiB")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone(open_page: Open, platform: Platform, scheme: str) -> None:
    platform.change_runtime("bash", open_files=4000)
    page = open_page(size=PHONE, scheme=scheme)
    open_runtime(page, platform, "bash")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert not violations(page)
    page.get_by_role("link", name="Test run").click()
    assert not violations(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
