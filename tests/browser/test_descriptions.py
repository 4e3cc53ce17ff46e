"""What a program sees: asked for, read and searched."""

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from scripts.chromium import PHONE
from tests.browser.conftest import Open, violations
from tests.browser.test_runtimes import open_runtime
from tests.inspections.facts import facts
from tests.live import Platform

pytestmark = pytest.mark.needs_docker

PACKAGES = "".join(f"package-{number}\t1.{number}\n" for number in range(40))


def describe(platform: Platform, slug: str) -> None:
    """Store a description as a worker would."""
    details = {"summary": "", "facts": facts(**{"packages:pip": PACKAGES})}
    platform.sql(
        "INSERT INTO seccomp_profiles_inspection (kind, state, verdict, details, requested_by, created_at, finished_at,"
        " node, runsc_version, image_id, runtime_revision, runtime_id)"
        " SELECT 'describe', 'done', '', %s, 'test', now(), now(), %s, 'x', %s, revision, id"
        " FROM runtimes_runtime WHERE slug = %s",
        json.dumps(details),
        platform.node,
        "sha256:" + 64 * "0",
        slug,
    )


@pytest.fixture
def described(platform: Platform) -> Callable[[Page], None]:
    def open_description(page: Page) -> None:
        describe(platform, "perl")
        open_runtime(page, platform, "perl")
        page.get_by_role("link", name="What a program sees").click()

    return open_description


def test_a_description_is_asked_for_and_appears(open_page: Open, platform: Platform) -> None:
    describe(platform, "bash")  # its packages are shown, and must not keep the page as it is
    page = open_page()
    open_runtime(page, platform, "bash")
    page.get_by_role("link", name="What a program sees").click()
    # The keeper may be at it already.
    page.get_by_role("button", name="Describe again").click(timeout=120_000)
    expect(page.get_by_role("row", name=re.compile("^Version Bash 5"))).to_be_visible(timeout=120_000)
    expect(page.get_by_role("button", name="Describe again")).to_be_enabled(timeout=60_000)
    assert not violations(page)


def test_packages_are_found_by_name_and_version(open_page: Open, described: Callable[[Page], None]) -> None:
    page = open_page()
    described(page)
    search = page.get_by_role("searchbox", name="Find a package")
    search.fill("PACKAGE-17")
    expect(page.get_by_role("row", name="package-17 1.17")).to_be_visible()
    expect(page.get_by_role("row", name="package-18")).to_have_count(0)
    expect(page.locator("#package-search [role=status]")).to_have_text("1 found")
    search.fill("base-files")
    expect(page.get_by_role("row", name="base-files")).to_be_visible()
    search.fill("")
    expect(page.get_by_role("row", name="package-18")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(open_page: Open, described: Callable[[Page], None], scheme: str) -> None:
    page = open_page(size=PHONE, scheme=scheme)
    described(page)
    assert not violations(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
