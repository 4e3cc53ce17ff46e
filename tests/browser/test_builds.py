"""A runtime is given a package, on a platform that knows this machine's mirrors."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from scripts.chromium import log_in
from scripts.setup import certificates
from tests.browser.conftest import PASSWORD, violations
from tests.browser.test_runtimes import open_runtime
from tests.live import Platform, eventually

pytestmark = pytest.mark.needs_docker


@pytest.fixture
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform that knows this machine's mirrors."""
    platform = Platform(tmp_path_factory.mktemp("builds"), SANDBOX_TIMEOUT="30s")
    certificates.write_build_config(platform.folder / "build-config")
    try:
        platform.start("python")
        platform.keep_one_smoke_program()
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
    expect(page.locator("#build-state")).to_have_text(re.compile("Queued|Building"))
    assert not violations(page)
    expect(page.locator("#build-state")).to_have_text("Building", timeout=60_000)
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
