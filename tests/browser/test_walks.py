"""What people do here, from the first click to the last, with real runs."""

import csv
import io
import os
import re
import subprocess

import pytest
import requests
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Open, person, write_program
from tests.live import TOKEN, Platform, eventually

pytestmark = pytest.mark.needs_docker

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
FAILING = "raise ValueError('the zanzibar column is missing')"
ARTIFACTS = """
import base64, os
def main():
    os.makedirs('artifacts', exist_ok=True)
    png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
    open('artifacts/dot.png', 'wb').write(base64.b64decode(png))
    script = '<script>parent.document.title = "taken over"; document.querySelector("h1").remove()</script>'
    open('artifacts/page.html', 'w').write('<style>h1 { color: red }</style><h1>A page</h1>' + script)
    open('artifacts/table.csv', 'w').write('month,eur\\n1,<b>12</b>\\n')
"""
SLOW = "import time\nprint('first line', flush=True)\ntime.sleep(60)\nprint('never seen')"


@pytest.fixture
def admin(open_page: Open) -> Page:
    return open_page()


def run(platform: Platform, program: str) -> None:
    """Over the API, whose code policy is off where RAGFlow's blocks."""
    body = {"runtime": "python", "mode": "function", "code": program, "wait": 30}
    answer = requests.post(f"{platform.url}/api/v1/executions", json=body, headers=HEADERS, timeout=60)
    assert answer.json()["status"] == "succeeded", answer.text


def last_execution(page: Page, platform: Platform) -> None:
    page.goto(f"{platform.url}/admin/executions/execution/{platform.last_execution()['id']}/change/")


def test_playground_keeps_what_was_typed_before_its_script_came(admin: Page, platform: Platform) -> None:
    held: list[Route] = []
    admin.route("**/playground*.js", lambda route: held.append(route))  # noqa: PLW0108 -- it sets attributes
    admin.goto(f"{platform.url}/admin/playground/", wait_until="commit")
    admin.get_by_label("Arguments of main(), as JSON").fill('{"name": "Ada"}')
    eventually(lambda: admin.wait_for_timeout(50) or held, "the script is asked for")
    held[0].continue_()
    expect(admin.locator("#curl")).to_contain_text("Ada")
    expect(admin.get_by_label("Arguments of main(), as JSON")).to_have_value('{"name": "Ada"}')


def test_playground_runs_a_program_and_shows_the_call(admin: Page, platform: Platform) -> None:
    admin.get_by_role("link", name="Playground", exact=True).click()
    admin.get_by_label("Arguments of main(), as JSON").fill('{"name": "Ada"}')
    admin.get_by_label("Arguments of main(), as JSON").press("Control+Enter")
    expect(admin.locator("#state")).to_have_text("Succeeded")
    expect(admin.locator("#stdout")).to_have_text("Hello, Ada\n")
    expect(admin.locator("#result")).to_contain_text('"letters": 3')
    expect(admin.locator("#curl")).to_contain_text("Authorization: Bearer $TOKEN")
    admin.get_by_role("link", name="Open the execution").click()
    expect(admin.get_by_role("heading", name="Timeline")).to_be_visible()
    expect(admin.locator("#execution")).to_contain_text("user: admin")


def test_playground_shows_the_artifacts(admin: Page, platform: Platform) -> None:
    admin.goto(f"{platform.url}/admin/playground/")
    write_program(admin, ARTIFACTS)
    admin.get_by_label("Arguments of main(), as JSON").fill("{}")
    admin.get_by_label("Arguments of main(), as JSON").press("Control+Enter")
    expect(admin.locator("#state")).to_have_text("Succeeded")
    expect(admin.locator("#artifacts").get_by_role("link", name="table.csv")).to_be_visible()
    expect(admin.get_by_role("img", name="Preview of dot.png")).to_be_visible()


def test_playground_s_call_can_be_copied_and_works(admin: Page, platform: Platform) -> None:
    admin.goto(f"{platform.url}/admin/playground/")
    write_program(admin, 'def main(name):\n    return f"it\'s {name}"\n')
    command = admin.locator("#curl").text_content() or ""
    env = os.environ | {"TOKEN": TOKEN, "no_proxy": "127.0.0.1"}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=env, check=True)
    assert '"result":"it\'s world"' in done.stdout.replace(": ", ":")


def test_playground_says_what_is_wrong(admin: Page, platform: Platform) -> None:
    admin.goto(f"{platform.url}/admin/playground/")
    admin.get_by_label("Arguments of main(), as JSON").fill("{no json")
    admin.locator("#run").click()
    expect(admin.locator("#problem")).to_contain_text("The arguments are not JSON")


def test_running_one_is_watched_and_cancelled(admin: Page, platform: Platform) -> None:
    admin.goto(f"{platform.url}/admin/playground/")
    admin.get_by_label("Mode").select_option("script")
    write_program(admin, SLOW)
    admin.locator("#run").click()
    expect(admin.locator("#stdout")).to_have_text("first line\n")
    last_execution(admin, platform)
    expect(admin.locator("#stdout")).to_have_text("first line\n")
    admin.get_by_role("button", name="Cancel").click()
    expect(admin.locator("#status")).to_have_text("Cancelled", timeout=30_000)
    expect(admin.locator(".explanation")).to_contain_text("Cancelled by user admin")


def test_a_failure_is_explained_and_run_again(admin: Page, platform: Platform) -> None:
    platform.run(f"def main():\n    {FAILING}")
    last_execution(admin, platform)
    expect(admin.locator(".explanation")).to_contain_text("exit status 1")
    admin.get_by_role("link", name="Run again").click()
    expect(admin.locator("#content")).to_contain_text("The configuration has not changed since")
    admin.get_by_role("button", name="Run with the recorded configuration").click()
    admin.wait_for_url("**/change/")
    expect(admin.locator("#status")).to_have_text("Failed")
    expect(admin.locator("#execution")).to_contain_text("pinned to the recorded configuration")


def test_search_marks_its_hits_and_can_be_saved_and_exported(admin: Page, platform: Platform) -> None:
    platform.run(f"def main():\n    {FAILING}")
    admin.goto(f"{platform.url}/admin/executions/execution/")
    admin.locator("#searchbar").fill("zanzibar column")
    admin.locator("#searchbar").press("Enter")
    expect(admin.locator("mark").first).to_have_text("zanzibar")
    with admin.expect_download() as download:
        admin.get_by_role("link", name="Export CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert {row["status"] for row in rows} == {"failed"}
    admin.get_by_label("Name of this search").fill("Zanzibar")
    admin.get_by_role("button", name="Save search").click()
    admin.goto(f"{platform.url}/admin/executions/execution/")
    admin.get_by_role("link", name="Zanzibar", exact=True).click()
    expect(admin.locator("mark").first).to_be_visible()
    admin.get_by_role("button", name="Delete the search Zanzibar").click()
    expect(admin.get_by_role("link", name="Zanzibar", exact=True)).to_have_count(0)


def test_list_is_filtered_from_its_drawer(admin: Page, platform: Platform) -> None:
    platform.run(f"def main():\n    {FAILING}")
    platform.run("def main(): return 1")
    admin.goto(f"{platform.url}/admin/executions/execution/")
    admin.get_by_role("button", name="Filters").press("Enter")
    drawer = admin.locator("#changelist-filter")
    drawer.get_by_label("By status").select_option(label="Failed")
    drawer.get_by_label("By outcome").select_option(label="Non-zero exit")
    drawer.get_by_role("button", name="Apply Filters").click()
    expect(admin.locator("#result_list .status").first).to_have_text("Failed")
    expect(admin.locator("#result_list .status-succeeded")).to_have_count(0)
    admin.get_by_role("link", name="Remove the filter Outcome").click()
    expect(admin.get_by_role("list", name="Active filters").get_by_role("listitem")).to_have_count(1)


def test_artifacts_are_shown_and_none_of_them_runs(admin: Page, platform: Platform) -> None:
    run(platform, ARTIFACTS)
    last_execution(admin, platform)
    image = admin.get_by_alt_text("Preview of dot.png")
    image.scroll_into_view_if_needed()
    eventually(lambda: image.evaluate("image => image.naturalWidth"), "the image is there")
    for summary in admin.locator(".artifact summary").all():
        summary.click()
    table = admin.frame_locator("iframe[title='Preview of table.csv']")
    expect(table.locator("td").nth(1)).to_have_text("<b>12</b>")
    page = admin.frame_locator("iframe[title='Preview of page.html']")
    expect(page.locator("h1")).to_have_text("A page")
    expect(page.locator("h1")).to_have_css("color", "rgb(255, 0, 0)")
    assert admin.title() != "taken over"


def test_pool_is_resized_drained_and_killed(admin: Page, platform: Platform) -> None:
    admin.get_by_role("link", name="Pool", exact=True).click()
    card = admin.locator("section", has=admin.get_by_role("heading", name=re.compile("^Python")))
    card.get_by_label("Minimum").fill("1")
    card.get_by_role("button", name="Resize").click()
    expect(admin.locator("#content, [id=main]").first).to_contain_text("The pool of python holds 1 to")
    before = {row["id"] for row in platform.sql("SELECT id FROM executions_sandbox WHERE state = 'ready'")}
    card.get_by_role("button", name="Drain …").click()
    admin.get_by_role("button", name="Drain", exact=True).click()
    expect(admin.locator("#main")).to_contain_text("of python.")
    fresh = "SELECT id FROM executions_sandbox WHERE state = 'ready' AND id <> ALL(%s)"
    eventually(lambda: platform.sql(fresh, list(before)), "the keeper starts a fresh one")
    admin.reload()
    admin.get_by_role("button", name=re.compile("^Kill ")).first.click()
    admin.get_by_role("button", name="Kill", exact=True).click()
    expect(admin.locator("#main")).to_contain_text("Removing the sandbox.")


def test_node_is_drained_taken_back_and_removed(admin: Page, platform: Platform) -> None:
    """A node that is gone: the platform's own goes on running the other tests' programs."""
    platform.sql("INSERT INTO sandboxes_node (name, seen_at, gvisor_version) VALUES ('worker-2', now(), '')")
    admin.get_by_role("link", name="Pool", exact=True).click()
    row = admin.get_by_role("row", name="worker-2")
    expect(row).to_contain_text("gone")
    row.get_by_role("button", name="Drain … worker-2").click()
    expect(admin.locator("#main")).to_contain_text(f"The other nodes take the work: {platform.node}.")
    admin.get_by_role("button", name="Drain", exact=True).click()
    expect(row).to_contain_text("drained")
    row.get_by_role("button", name="Take back worker-2").click()
    expect(row).to_contain_text("gone")
    row.get_by_role("button", name="Remove … worker-2").click()
    admin.get_by_role("button", name="Remove", exact=True).click()
    expect(row).to_have_count(0)


def test_doctor_looks(admin: Page, platform: Platform) -> None:
    admin.get_by_role("link", name="Doctor").click()
    admin.get_by_role("button", name="Check now").click()
    expect(admin.locator("#content")).to_contain_text("checked at", timeout=60_000)
    expect(admin.get_by_role("row", name=re.compile("ok gVisor in use")).first).to_be_visible()


def test_token_is_shown_once(admin: Page, platform: Platform) -> None:
    admin.goto(f"{platform.url}/admin/clients/client/add/")
    admin.get_by_label("Name", exact=False).first.fill("canvas")
    admin.get_by_role("button", name="Save", exact=True).click()
    message = admin.locator("#main").get_by_text("Token of canvas, shown only now").first
    token = (message.locator("code").text_content() or "").strip()
    answer = platform.post({"code_b64": "", "language": "python"}, Authorization=f"Bearer {token}")
    assert answer.status_code != 401
    admin.reload()
    expect(admin.get_by_text(token)).to_have_count(0)


def test_change_of_a_runtime_is_in_the_trail(admin: Page, platform: Platform) -> None:
    admin.goto(f"{platform.url}/admin/runtimes/runtime/")
    admin.get_by_role("link", name="nodejs", exact=True).click()
    admin.get_by_role("tab", name="Limits").click()
    admin.get_by_role("spinbutton", name="Open files").fill("2048")
    admin.get_by_role("button", name="Save", exact=True).click()
    admin.wait_for_url("**/runtime/")
    admin.get_by_role("link", name="Audit trail").click()
    admin.get_by_role("link", name=re.compile(r"^20\d\d-")).first.click()
    expect(admin.locator("#content")).to_contain_text("open_files")
    expect(admin.locator("#content")).to_contain_text("user admin")


def test_auditor_looks_and_changes_nothing(open_page: Open, platform: Platform) -> None:
    platform.run("def main(): return 1")
    page = open_page(user=person(platform, "ann", "auditor"))
    expect(page.get_by_role("link", name="Audit trail")).to_be_visible()
    expect(page.get_by_role("link", name="Playground")).to_have_count(0)
    last_execution(page, platform)
    expect(page.get_by_role("heading", name="Provenance")).to_be_visible()
    expect(page.get_by_role("link", name="Run again")).to_have_count(0)
    page.goto(f"{platform.url}/admin/pool/")
    expect(page.get_by_role("button", name="Drain")).to_have_count(0)


def test_wrong_password_is_said(open_page: Open, platform: Platform) -> None:
    page = open_page(user="")
    page.goto(f"{platform.url}/admin/")
    page.get_by_label("Username").fill("nobody")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page.locator("#page")).to_contain_text("Please enter the correct username and password")


def test_dashboard_has_what_ran(admin: Page, platform: Platform) -> None:
    platform.run("def main(): return 1")
    admin.goto(f"{platform.url}/admin/")
    admin.get_by_text("As a table").click()
    expect(admin.locator("#chart-table tr").last).to_be_visible()
    admin.get_by_role("link", name="30 days").click()
    expect(admin.get_by_role("heading", name="Latency")).to_be_visible()
    admin.keyboard.press("Control+k")
    last = str(platform.last_execution()["id"])
    admin.get_by_role("combobox", name="Find").fill(last[-12:])
    admin.keyboard.press("Enter")
    admin.wait_for_url(f"**/{last}/change/")
