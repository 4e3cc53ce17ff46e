"""A profile edited as rows, with a browser and without its scripts."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from scripts.chromium import PHONE, log_in
from tests.browser.conftest import PASSWORD, Open, violations
from tests.live import Platform

pytestmark = pytest.mark.needs_docker

RULES: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "x-ours": 1,
    "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "excludes": {"arches": ["s390"]}},
        {
            "names": ["socket"],
            "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 0, "value": 2**64 - 1, "op": "SCMP_CMP_EQ"}],
        },
    ],
}


@pytest.fixture
def profile(platform: Platform, request: pytest.FixtureRequest) -> int:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:50]
    return platform.create_profile(name, RULES)


def newest(platform: Platform, profile: int) -> dict[str, Any]:
    query = "SELECT * FROM seccomp_profiles_seccomprevision WHERE profile_id = %s ORDER BY number DESC LIMIT 1"
    return platform.sql(query, profile)[0]


def open_editor(page: Page, platform: Platform, profile: int) -> None:
    page.goto(f"{platform.url}/admin/seccomp_profiles/seccompprofile/{profile}/change/")


def rule(page: Page, number: int) -> Any:
    return page.locator(".rules-list > .rule").nth(number - 1)


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).first.click()
    page.wait_for_url("**/seccompprofile/")


@pytest.mark.parametrize("turns", [0, 2])
def test_saving_what_nobody_touched_changes_nothing(
    open_page: Open, platform: Platform, profile: int, turns: int
) -> None:
    page = open_page()
    open_editor(page, platform, profile)
    for turn in range(turns):
        page.get_by_label(("JSON", "Rows")[turn % 2], exact=True).check()
        expect(page.locator(f".rules-editor[data-mode={('json', 'form')[turn % 2]}]")).to_be_visible()
    page.locator("#id_description").fill("Only its description changes.")
    save(page)
    assert (newest(platform, profile)["number"], newest(platform, profile)["rules"]) == (1, RULES)


def test_a_call_is_found_by_what_it_does_and_taken(open_page: Open, platform: Platform, profile: int) -> None:
    page = open_page()
    open_editor(page, platform, profile)
    search = rule(page, 1).get_by_label("Add a call")
    search.fill("trace")
    rule(page, 1).get_by_role("button", name=re.compile("^ptrace ")).click()
    expect(rule(page, 1).get_by_label("System calls")).to_have_value("mkdir ptrace")
    expect(rule(page, 1).locator(".meanings")).to_contain_text("ptrace")
    search.fill("mount")
    search.press("Enter")
    save(page)
    expected = json.loads(json.dumps(RULES))
    expected["syscalls"][0]["names"] = ["mkdir", "ptrace", "mount"]
    assert newest(platform, profile)["rules"] == expected


def test_a_rule_with_a_condition_is_added_and_moved_first(
    open_page: Open, platform: Platform, profile: int
) -> None:
    page = open_page()
    open_editor(page, platform, profile)
    page.get_by_role("button", name="Add a rule").click()
    added = rule(page, 3)
    added.get_by_label("Action").select_option("SCMP_ACT_KILL")
    added.get_by_label("System calls").fill("clone")
    added.get_by_role("button", name="Add a condition").click()
    added.get_by_label("Only if argument").select_option("0")
    expect(added.get_by_label("equals, under the mask")).to_be_hidden()
    added.get_by_label("comparison").select_option("SCMP_CMP_MASKED_EQ")
    added.get_by_label("value", exact=True).fill("0x10000000")
    added.get_by_label("equals, under the mask").fill("0x10000000")
    for place in (3, 2):
        rule(page, place).get_by_role("button", name="Move the rule up").click()
    expect(rule(page, 1).locator("legend")).to_contain_text("Rule 1")
    save(page)
    mask = {"index": 0, "value": 2**28, "valueTwo": 2**28, "op": "SCMP_CMP_MASKED_EQ"}
    first = {"names": ["clone"], "action": "SCMP_ACT_KILL", "args": [mask]}
    assert newest(platform, profile)["rules"] == RULES | {"syscalls": [first, *RULES["syscalls"]]}


def test_what_is_wrong_is_said_at_its_rule(open_page: Open, platform: Platform, profile: int) -> None:
    page = open_page()
    open_editor(page, platform, profile)
    rule(page, 2).get_by_label("System calls").fill("sokcet")
    expect(rule(page, 2).locator(".rule-findings")).to_contain_text("Did you mean socket?")
    rule(page, 2).get_by_label("value", exact=True).fill("-1")
    page.get_by_role("button", name="Save", exact=True).first.click()
    expect(rule(page, 2).locator(".rule-findings .seccomp-error")).to_contain_text("must be a whole number")
    expect(rule(page, 1).locator(".rule-findings .seccomp-error")).to_have_count(0)
    assert newest(platform, profile)["number"] == 1


def test_without_scripts_the_rows_are_saved_too(browser: Browser, platform: Platform, profile: int) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    log_in(page, platform.url, "admin", PASSWORD)
    open_editor(page, platform, profile)
    rule(page, 1).get_by_label("Add a call").fill("rmdir")
    rule(page, 2).get_by_label("Remove").first.check()
    rule(page, 3).get_by_label("Action").select_option("SCMP_ACT_ERRNO")
    rule(page, 3).get_by_label("System calls").fill("mount")
    page.get_by_role("button", name="Save", exact=True).first.click()
    page.wait_for_url("**/seccompprofile/")
    context.close()
    expected = [
        RULES["syscalls"][0] | {"names": ["mkdir", "rmdir"]},
        {"names": ["mount"], "action": "SCMP_ACT_ERRNO"},
    ]
    assert newest(platform, profile)["rules"] == RULES | {"syscalls": expected}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_rows_are_accessible_and_fit_a_phone(
    open_page: Open, platform: Platform, profile: int, scheme: str
) -> None:
    page = open_page(size=PHONE, scheme=scheme)
    open_editor(page, platform, profile)
    page.get_by_role("button", name="Add a rule").click()
    rule(page, 1).get_by_label("Add a call").fill("file")
    assert not violations(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
