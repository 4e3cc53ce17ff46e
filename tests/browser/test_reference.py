"""The API's reference, with whoever watches that nothing is asked of anybody else: see conftest.open_page."""

import pytest

from tests.browser.conftest import Open
from tests.live import Platform

pytestmark = [pytest.mark.needs_docker, pytest.mark.timeout(180)]


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_reference_asks_nothing_of_anybody_else(open_page: Open, platform: Platform, path: str) -> None:
    page = open_page(user="")
    page.goto(f"{platform.url}{path}")
    page.get_by_text("Submit a program").locator("visible=true").first.wait_for()
    page.wait_for_load_state("networkidle")
