"""What a profile does is seen before it is put into use: by a probe, a dry run, and by what programs call."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect
from psycopg.types.json import Jsonb

from scripts.chromium import PHONE
from tests.browser.conftest import Open, violations
from tests.browser.test_operations import submit
from tests.inspections.conftest import FEW
from tests.live import Platform

pytestmark = pytest.mark.needs_docker

NO_MKDIR = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}
MAKES_A_FOLDER = "import os\nos.mkdir('made')\nprint('made it')"
DONE_MS = 240_000


@pytest.fixture(scope="module", autouse=True)
def few_programs(platform: Platform) -> Iterator[None]:
    """Each smoke program costs a sandbox for each inspection."""
    (before,) = platform.sql("SELECT smoke FROM runtimes_runtime WHERE slug = 'python'")
    few = [program for program in before["smoke"] if program["name"] in FEW]
    change = "UPDATE runtimes_runtime SET smoke = %s WHERE slug = 'python'"
    platform.sql(change, Jsonb(few))
    yield
    platform.sql(change, Jsonb(before["smoke"]))


@pytest.fixture
def page(open_page: Open, platform: Platform, request: pytest.FixtureRequest) -> Page:
    """Of a profile that no runtime uses."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:50]
    profile = platform.create_profile(name, NO_MKDIR)
    page = open_page()
    page.goto(f"{platform.url}/admin/seccomp_profiles/seccompprofile/{profile}/change/")
    return page


def ask(page: Page, what: str) -> None:
    revisions = page.locator("#seccomp-revisions")
    revisions.get_by_label("Runtime").select_option(label="on python")
    revisions.get_by_role("button", name=what).click()
    page.wait_for_url("**/inspection/*/change/")


def said(page: Page, label: str) -> Locator:
    named = page.locator("label", has_text=re.compile(f"^\\s*{label}\\s*$"))
    return page.locator(".form-row", has=named).locator(".readonly")


def done(page: Page) -> None:
    """Its page looks by itself until it has ended."""
    expect(said(page, "State")).to_have_text("Done", timeout=DONE_MS)
    assert not violations(page)


def test_a_profile_is_probed_before_it_is_used(page: Page) -> None:
    ask(page, "Probe")
    done(page)
    # Of the smoke programs, too, one makes a folder.
    expect(said(page, "Verdict")).to_have_text("Breaks the runtime")
    expect(said(page, "Findings")).to_contain_text("mkdir")
    said(page, "Subject").get_by_role("link").first.click()
    expect(page.locator("#seccomp-inspections tbody tr")).to_have_count(1)
    expect(page.locator("#seccomp-inspections")).to_contain_text("Done")
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert not violations(page)


def test_a_dry_run_names_the_programs_that_would_break(page: Page, platform: Platform) -> None:
    submit(platform, code=MAKES_A_FOLDER, wait=30)
    ask(page, "Dry run")
    done(page)
    expect(said(page, "Findings")).to_contain_text("mkdir")


def test_what_was_learnt_becomes_a_revision(page: Page, platform: Platform) -> None:
    page.locator("#seccomp-revisions").get_by_role("link", name="Learn").click()
    assert not violations(page)
    page.get_by_label("Program", exact=True).fill(MAKES_A_FOLDER)
    page.get_by_role("button", name="Learn").click()
    page.wait_for_url("**/inspection/*/change/")
    done(page)
    expect(said(page, "Findings")).to_contain_text("your program")
    assert page.evaluate("document.documentElement.scrollHeight") < 3000
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/seccompprofile/*/change/")
    expect(page.locator("#main")).to_contain_text("Saved as")
    expect(page.locator("#seccomp-revisions tbody tr:not(.actions)")).to_have_count(2)
