import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from audit.models import PurgeRecord
from clients.models import Client
from executions import rerun
from executions.admin import comparison
from executions.configuration import RunConfiguration
from executions.models import Execution, Outcome, Status
from runtimes.models import Runtime
from sandboxes import images
from seccomp_profiles import revisions
from tests.conftest import Visitor
from tests.pages import words

MakeExecution = Callable[..., Execution]
SCRIPT = "<script>alert(1)</script>"
IMAGES = {"image_id": "sha256:then", "profile_name": "unconfined"}


def page(browser: Browser, execution: Execution, name: str = "comparison") -> str:
    response = browser.get(reverse(f"admin:executions_execution_{name}", args=[execution.pk]))
    assert response.status_code == 200
    return response.content.decode()


@pytest.fixture
def pair(make_execution: MakeExecution) -> Callable[..., Execution]:
    def make(then: dict[str, Any], now: dict[str, Any]) -> Execution:
        earlier = make_execution(**IMAGES | then)
        return make_execution(**IMAGES | {"rerun_of": earlier.pk} | now)

    return make


def kinds(then: str, now: str, name: str = "stdout") -> list[tuple[str, str]]:
    return [(line.kind, line.text) for line in comparison.diff(name, name, then, now).lines]


# --- The lines that differ ---


def test_lines_that_differ_are_between_those_alike() -> None:
    assert kinds("a\nb\nc", "a\nx\nc") == [("equal", "a"), ("delete", "b"), ("insert", "x"), ("equal", "c")]


def test_what_is_alike_has_no_lines() -> None:
    assert kinds("a\nb", "a\nb") == []


def test_long_stretches_alike_are_left_out() -> None:
    alike = "\n".join(str(number) for number in range(100))
    found = kinds(f"{alike}\nb", f"{alike}\nx")
    assert found[0] == ("gap", "97 equal lines")
    assert len(found) == 6


def test_results_are_compared_as_values() -> None:
    assert kinds('{"a":1,"b":2}', '{"b": 2, "a": 1}', "result") == []
    assert ("insert", '  "b": 3') in kinds('{"a":1,"b":2}', '{"a":1,"b":3}', "result")


def test_colours_alone_are_said() -> None:
    assert "colours" in comparison.diff("stdout", "", "\x1b[31ma", "a").note


@pytest.mark.parametrize("text", ["[" * 5000 + "]" * 5000, "no json", '"\\ud800"', "\ud800", "\0"])
def test_any_result_is_compared(text: str) -> None:
    found = comparison.diff("result", "", text, "1")
    "".join(line.text for line in found.lines).encode()


@pytest.mark.timeout(120, method="signal")
@pytest.mark.parametrize(
    ("then", "now"),
    [
        ("a\nb\n" * 40_000, "b\na\n" * 40_000),
        ("\n".join(str(n % 199) for n in range(90_000)), "\n".join(str(n % 198) for n in range(90_000))),
        ("x" * 5_000_000, "y" * 5_000_000),
    ],
)
def test_a_hostile_output_costs_little(then: str, now: str) -> None:
    found = comparison.diff("stdout", "", then, now)
    assert len(found.lines) <= 2 * comparison.MOST_LINES + 10
    assert "Only the first" in found.note


# --- The page ---


def test_both_runs_are_side_by_side(browser: Browser, pair: Callable[..., Execution]) -> None:
    failed = {"status": Status.FAILED, "outcome": Outcome.NONZERO_EXIT, "exit_code": 3, "cpu_ms": 200}
    later = pair(failed, {"exit_code": 0, "cpu_ms": 100})
    text = words(page(browser, later))
    assert "Status Failed Succeeded" in text
    assert "Exit status 3 status 0" in text
    assert "CPU time 200 ms 100 ms -50%" in text
    assert "Peak memory not measured not measured" in text


def test_configuration_s_differences_are_the_service_s(browser: Browser, pair: Callable[..., Execution]) -> None:
    later = pair({}, {"image_id": "sha256:now"})
    assert "image_id sha256:then sha256:now" in words(page(browser, later))
    assert "runtime_revision" not in page(browser, later)


def test_limits_that_differ_have_units(
    browser: Browser, pair: Callable[..., Execution], python_runtime: Runtime
) -> None:
    limits = python_runtime.limits.as_dict()
    later = pair({}, {"limits": limits | {"wall_time_ms": 2000}})
    assert "limits.wall_time_ms 10 s 2 s" in words(page(browser, later))


def test_nothing_that_changed_is_said(browser: Browser, pair: Callable[..., Execution]) -> None:
    assert "No difference in image, runtime" in page(browser, pair({}, {}))


def test_output_is_compared_and_escaped(browser: Browser, pair: Callable[..., Execution]) -> None:
    html = page(browser, pair({"stdout": "old\n"}, {"stdout": f"{SCRIPT}\n", "result": json.dumps({SCRIPT: 1})}))
    assert SCRIPT not in html
    assert "&lt;script&gt;alert(1)" in html
    assert 'class="diff-delete"' in html


def test_long_differences_are_folded(browser: Browser, pair: Callable[..., Execution]) -> None:
    later = pair({"stdout": "a\n" * 200}, {"stdout": "b\n" * 200})
    assert "400 lines: show" in words(page(browser, later))


def test_later_run_s_page_has_the_comparison(browser: Browser, pair: Callable[..., Execution]) -> None:
    later = pair({"stdout": "old\n"}, {"stdout": "new\n"})
    html = page(browser, later, "change")
    assert "Compared with the earlier run" in html
    assert reverse("admin:executions_execution_comparison", args=[later.pk]) in html


def test_one_that_is_under_way_waits_for_its_output(browser: Browser, pair: Callable[..., Execution]) -> None:
    later = pair({"stdout": "old\n"}, {"status": Status.QUEUED, "image_id": ""})
    text = words(page(browser, later))
    assert "Its output is compared when it ends" in text
    assert "Known once the rerun has a sandbox" in text


def test_purged_output_is_no_difference(browser: Browser, pair: Callable[..., Execution]) -> None:
    later = pair({}, {"stdout": "new\n"})
    now = timezone.now()
    PurgeRecord.objects.create(
        kind="output", policy="x", keep_days=0, cutoff=now, count=1, created_at=now,
        first_id=later.rerun_of, last_id=later.rerun_of, ids=[later.rerun_of],
    )  # fmt: skip
    assert "Output of the earlier run was purged" in page(browser, later)


def test_earlier_run_may_be_gone(browser: Browser, make_execution: MakeExecution) -> None:
    later = make_execution(rerun_of="01900000-0000-7000-8000-000000000000")
    assert "The earlier run was purged" in page(browser, later)
    assert "Compared with" not in page(browser, later, "change")


def test_a_first_run_has_nothing_to_compare_with(browser: Browser, make_execution: MakeExecution) -> None:
    address = reverse("admin:executions_execution_comparison", args=[make_execution().pk])
    assert browser.get(address).status_code == 404


@pytest.mark.parametrize("role", ["administrator", "operator", "auditor"])
def test_every_role_may_compare(visitor: Visitor, pair: Callable[..., Execution], role: str) -> None:
    page(visitor(role), pair({}, {}))


def test_nobody_else_may(client: Browser, pair: Callable[..., Execution]) -> None:
    address = reverse("admin:executions_execution_comparison", args=[pair({}, {}).pk])
    assert client.get(address).status_code == 302


# --- What stands in the way of a rerun ---


@pytest.fixture
def no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "image_id", lambda reference: "sha256:now" if ":" in reference[7:] else "")


def test_what_is_gone_is_said_in_words(browser: Browser, make_execution: MakeExecution, no_image: None) -> None:
    html = page(browser, make_execution(image_id="sha256:then", profile_name="deleted"), "rerun")
    text = words(html)
    assert "Cannot run with the recorded configuration" in text
    assert "the image sha256:then no longer exists" in text
    assert "the seccomp profile deleted was deleted" in text
    assert 'value="then" disabled' in html


def test_a_mode_that_is_gone_is_said_in_words(
    browser: Browser, make_execution: MakeExecution, no_image: None
) -> None:
    execution = make_execution()
    Runtime.objects.update(modes=["script"])
    html = page(browser, execution, "rerun")
    assert "no longer has the mode function" in html
    assert "Run with the current configuration" not in html


@pytest.fixture
def strict_client(make_execution: MakeExecution) -> Client:
    """A client with a profile and a cap of its own."""
    profile = revisions.create_profile("picky", {"defaultAction": "SCMP_ACT_ALLOW"})
    return Client.objects.create(name="picky", seccomp_profile=profile, max_wall_time_ms=5000)


def test_rerun_as_now_gets_what_the_client_gets_now(
    browser: Browser, make_execution: MakeExecution, strict_client: Client, no_image: None
) -> None:
    earlier = make_execution(client=strict_client, image_id="sha256:now")
    browser.post(reverse("admin:executions_execution_rerun", args=[earlier.pk]), {"configuration": "now"})
    later = Execution.objects.get(rerun_of=earlier.pk)
    assert (later.client, later.limits["wall_time_ms"], later.labels["user"]) == (strict_client, 5000, "admin")
    present = RunConfiguration.stored(later).in_force(later.runtime, later.client)
    assert present.profile_name == "picky"


def test_clients_profile_and_caps_are_no_changes(
    browser: Browser, make_execution: MakeExecution, strict_client: Client, no_image: None
) -> None:
    today = rerun.configuration_today(make_execution(client=strict_client), strict_client)
    earlier = make_execution(client=strict_client, **today.columns())
    assert "The configuration has not changed since." in words(page(browser, earlier, "rerun"))


def test_rerun_of_a_disabled_client_is_refused_in_words(
    browser: Browser, make_execution: MakeExecution, strict_client: Client, no_image: None
) -> None:
    Client.objects.update(enabled=False)
    earlier = make_execution(client=strict_client)
    address = reverse("admin:executions_execution_rerun", args=[earlier.pk])
    assert "The client picky is disabled" in words(
        browser.post(address, {"configuration": "now"}, follow=True).content.decode()
    )
    assert not Execution.objects.filter(rerun_of=earlier.pk).exists()


def test_engines_of_both_runs_are_compared(browser: Browser, pair: Callable[..., Execution]) -> None:
    later = pair({"engine": "docker"}, {"engine": "direct"})
    shown = words(page(browser, later))
    assert "Engine Docker Direct" in shown
