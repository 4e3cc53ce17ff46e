"""The playground's editor, by keyboard, in both themes, under the strict policy of the admin's pages."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from scripts.chromium import PHONE
from tests.browser.conftest import Open, violations, write_program
from tests.live import Platform

pytestmark = pytest.mark.needs_docker

KEYWORDS = {
    "python": ("import os", "import"),
    "nodejs": ("const a = 1;", "const"),
    "php": ("<?php\nfunction main() { return 1; }", "function"),
    "rust": ("fn main() {}", "fn"),
    "sqlite": ("SELECT 1;", "SELECT"),
    "tcl": ("proc main {} { return 1 }", "proc"),
}
LUMINANCE = """element => {
  const canvas = document.createElement("canvas").getContext("2d");
  canvas.fillStyle = getComputedStyle(element).backgroundColor;
  canvas.fillRect(0, 0, 1, 1);
  return canvas.getImageData(0, 0, 1, 1).data.slice(0, 3).reduce((sum, each) => sum + each, 0) / 3;
}"""

PASTE = """(element, text) => {
  const clipboardData = new DataTransfer();
  clipboardData.setData("text/plain", text);
  element.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""


@pytest.fixture
def playground(open_page: Open, platform: Platform) -> Page:
    page = open_page()
    page.goto(f"{platform.url}/admin/playground/")
    return page


def editor(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Program")


def sent(page: Page) -> str:
    """What a form would send."""
    return str(page.locator("textarea[name=code]").input_value())


def test_form_has_the_text_that_was_written(playground: Page) -> None:
    write_program(playground, "def main():\n    return 'ä €'\n")
    assert sent(playground) == "def main():\n    return 'ä €'\n"


def test_tab_indents_and_after_escape_leaves(playground: Page) -> None:
    write_program(playground, "")
    editor(playground).press("Tab")
    editor(playground).press_sequentially("x")
    assert sent(playground) == "    x"
    editor(playground).press("Shift+Tab")
    assert sent(playground) == "x"
    expect(editor(playground)).to_be_focused()
    editor(playground).press("Escape")
    playground.keyboard.press("Tab")
    expect(playground.get_by_label("Arguments of main(), as JSON")).to_be_focused()


def test_editor_says_how_to_leave_it(playground: Page) -> None:
    expect(editor(playground)).to_have_accessible_description(
        "Tab indents; Esc, then Tab leaves the editor. Ctrl F searches in it. "
        "Ctrl ⏎ runs the program from anywhere on this page."
    )


def test_return_keeps_the_indentation(playground: Page) -> None:
    write_program(playground, "")
    editor(playground).press_sequentially("def main():\nreturn 1")
    assert sent(playground) == "def main():\n    return 1"


def test_control_return_runs_the_program(playground: Page) -> None:
    playground.get_by_label("Mode").select_option("script")
    write_program(playground, "print('by keyboard')")
    editor(playground).press("Control+Enter")
    expect(playground.locator("#stdout")).to_have_text("by keyboard\n")


def test_example_follows_the_runtime_until_somebody_writes(playground: Page) -> None:
    playground.get_by_label("Runtime").select_option("nodejs")
    assert "console.log" in sent(playground)
    editor(playground).press_sequentially("// mine\n")
    playground.get_by_label("Runtime").select_option("python")
    assert "// mine" in sent(playground)


def test_lines_are_numbered(playground: Page) -> None:
    write_program(playground, "\n".join(f"line_{number}" for number in range(1, 31)))
    expect(playground.locator(".cm-lineNumbers").get_by_text("30", exact=True)).to_be_visible()


def test_languages_have_colours(playground: Page, platform: Platform) -> None:
    offered = (
        playground.get_by_label("Runtime").locator("option").evaluate_all("all => all.map(each => each.value)")
    )
    tried = [slug for slug in KEYWORDS if slug in offered]
    assert {"python", "nodejs"} <= set(tried)
    for slug in tried:
        playground.get_by_label("Runtime").select_option(slug)
        program, keyword = KEYWORDS[slug]
        write_program(playground, program)
        expect(playground.locator(".cm-line .tok-keyword").first).to_have_text(keyword)


def test_search_within_a_program(playground: Page) -> None:
    program = "\n".join(f"line_{number}" for number in range(2000))
    write_program(playground, "")
    editor(playground).evaluate(PASTE, program)
    assert sent(playground) == program
    editor(playground).press("Control+f")
    playground.get_by_role("textbox", name="Find").press_sequentially("line_1990")
    playground.keyboard.press("Enter")
    expect(playground.locator(".cm-searchMatch-selected")).to_have_text("line_1990")
    assert not violations(playground)


@pytest.mark.parametrize("size", [None, PHONE])
def test_editor_follows_the_theme(open_page: Open, platform: Platform, size: tuple[int, int] | None) -> None:
    page = open_page(scheme="dark", **({"size": size} if size else {}))
    page.goto(f"{platform.url}/admin/playground/")
    box = page.locator(".cm-editor")
    assert box.evaluate(LUMINANCE) < 50
    assert not violations(page)
    dark = box.get_attribute("class")
    page.keyboard.press("Control+e")
    expect(page.locator("html")).not_to_have_class(re.compile(r"\bdark\b"))
    assert box.evaluate(LUMINANCE) > 200
    expect(box).not_to_have_class(dark or "")
    assert not violations(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]
