"""A runtime looked after: tried out, changed, put back, and given a package."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from scripts.chromium import PHONE, log_in
from scripts.setup import certificates
from tests.browser.conftest import PASSWORD, Open, violations
from tests.live import Platform, eventually

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
    script = (
        "from django.contrib.auth.models import Group, User; user = User.objects.create_user("
        f"'oda', password={PASSWORD!r}, is_staff=True); user.groups.add(Group.objects.get(name='operator'))"
    )
    platform.manage("shell", "-c", script)
    platform.change_runtime("nodejs", open_files=3000)
    page = open_page(user="oda")
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
    memory = page.locator("#id_memory_bytes")
    memory.fill("0.5 GiB")
    expect(page.locator(".field-memory_bytes .unit-hint")).to_have_text("= 536,870,912 bytes")
    memory.fill("half")
    expect(page.locator(".field-memory_bytes .unit-hint")).to_have_text("not a number of bytes")
    memory.fill("512 MiB")
    page.locator("#id_pool_max").fill("10")
    expect(page.locator("[data-of=pool_max][data-each=memory]")).to_have_text("5 GiB")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone(open_page: Open, platform: Platform, scheme: str) -> None:
    platform.change_runtime("bash", open_files=4000)
    page = open_page(size=PHONE, scheme=scheme)
    open_runtime(page, platform, "bash")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    page.get_by_role("link", name="Test run").click()
    assert not violations(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


@pytest.fixture
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform that knows this machine's mirrors."""
    platform = Platform(tmp_path_factory.mktemp("builds"), SANDBOX_TIMEOUT="30s")
    certificates.write_build_config(platform.folder / "build-config")
    try:
        platform.start("python")
        yield platform
    finally:
        platform.stop()


def test_a_package_is_built_watched_and_cancelled(browser: Browser, builder: Platform) -> None:
    page = browser.new_page()
    page.set_default_timeout(20_000)
    log_in(page, builder.url, "admin", PASSWORD)
    open_runtime(page, builder, "python")
    page.get_by_role("link", name="Add packages").click()
    page.get_by_label("pip packages").fill("humanize")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url("**/runtimebuild/*/change/")
    expect(page.locator("#build-progress")).to_contain_text(re.compile("Queued|Building"))
    assert not violations(page)
    expect(page.locator("#build-log")).to_contain_text("humanize", timeout=240_000)
    expect(page.locator(".status-live")).to_be_visible(timeout=240_000)
    assert not violations(page)
    result = builder.run("def main():\n    import humanize\n    return humanize.intcomma(1234567)")
    assert result["result"]["value"] == "1,234,567"

    open_runtime(page, builder, "python")
    page.get_by_role("link", name="Add packages").click()
    page.get_by_label("pip packages").fill("humanize\nidna")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url("**/runtimebuild/*/change/")
    page.get_by_role("button", name="Cancel").click()
    state = "SELECT state FROM runtimes_runtimebuild ORDER BY id DESC LIMIT 1"
    eventually(lambda: builder.sql(state)[0]["state"] == "cancelled", "the build is cancelled")
    page.reload()
    expect(page.locator(".status-cancelled")).to_be_visible()
    page.close()
