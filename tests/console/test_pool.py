from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client as Browser
from django.urls import reverse

from executions.models import Execution, Outcome, Status
from runtimes.models import MIB, Runtime
from sandboxes.models import Sandbox, SandboxState
from tests.conftest import Visitor
from tests.pages import fields, words

POOL = reverse("admin:pool")


def sandbox(runtime: Runtime, state: SandboxState = SandboxState.READY, **fields: object) -> Sandbox:
    return Sandbox.objects.create(
        runtime=runtime, runtime_revision=runtime.revision, node="n", profile_sha256="", state=state,
        container_id="abcdef0123456789", **fields,
    )  # fmt: skip


def test_board_shows_every_sandbox(browser: Browser, python_runtime: Runtime) -> None:
    sandbox(python_runtime)
    shown = words(browser.get(POOL).content.decode())
    assert "Ready 1 of 1 sandboxes" in shown
    assert "abcdef012345 Ready python" in shown


def test_board_says_what_a_pool_costs_in_memory(
    browser: Browser, python_runtime: Runtime, make_execution: Callable[..., Execution]
) -> None:
    make_execution(peak_memory_bytes=30 * MIB)
    sandbox(python_runtime)
    shown = words(browser.get(POOL).content.decode())
    assert "30 MiB per idle sandbox: 30 MiB for an idle pool, 240 MiB for a full pool; 2 GiB if" in shown
    assert "n not measured yet of 256 MiB" in shown


def test_what_the_warm_ones_hold_is_shown_and_counted_with(
    browser: Browser, python_runtime: Runtime, make_execution: Callable[..., Execution]
) -> None:
    make_execution(peak_memory_bytes=90 * MIB)
    sandbox(python_runtime, memory_bytes=40 * MIB)
    sandbox(python_runtime, memory_bytes=60 * MIB)
    shown = words(browser.get(POOL).content.decode())
    assert "n 40 MiB of 256 MiB" in shown and "n 60 MiB of 256 MiB" in shown
    assert "50 MiB per idle sandbox: 50 MiB for an idle pool, 400 MiB for a full pool" in shown


@pytest.mark.parametrize(
    "title, fields",
    [
        ("Disabled: 1 runtime ", {"enabled": False}),
        ("Without warm sandboxes: 1 runtime ", {"pool_min": 0}),
    ],
)
def test_those_without_a_sandbox_stand_apart(
    browser: Browser, python_runtime: Runtime, title: str, fields: dict[str, Any]
) -> None:
    Runtime.objects.create(slug="awk", name="GNU awk", image="x", source_file="main.awk", **fields)
    shown = words(browser.get(POOL).content.decode())
    before, _, after = shown.partition(title)
    assert "Python 3.13" in before and "GNU awk" not in before
    assert "GNU awk" in after


def test_cards_keep_their_places_whatever_the_pools_hold(browser: Browser, python_runtime: Runtime) -> None:
    awk = Runtime.objects.create(slug="awk", name="GNU awk", image="x", source_file="main.awk", pool_min=1)
    for _ in range(2):
        sandbox(python_runtime)
    for _ in range(3):
        shown = words(browser.get(POOL).content.decode())
        assert shown.index("GNU awk") < shown.index("Python 3.13")
        sandbox(awk)


def test_a_cold_start_moves_no_card(browser: Browser, python_runtime: Runtime) -> None:
    Runtime.objects.update(pool_min=0)
    sandbox(python_runtime, SandboxState.STARTING)
    assert "Without warm sandboxes: 1 runtime " in words(browser.get(POOL).content.decode())


@pytest.mark.parametrize(
    "action, question",
    [
        ("kill", "Kill the sandbox abcdef012345? It waits for a run of python."),
        ("drain", "Replace the 1 warm sandbox of python? Runs go on."),
    ],
)
def test_removing_sandboxes_asks_first(
    visitor: Visitor, python_runtime: Runtime, action: str, question: str
) -> None:
    warm = sandbox(python_runtime)
    browser = visitor("operator")
    data = {"action": action, "sandbox": warm.pk, "runtime": python_runtime.pk}
    html = browser.post(POOL, data).content.decode()
    assert question in words(html)
    warm.refresh_from_db()
    assert warm.state == SandboxState.READY
    answer = fields(html.partition('aria-labelledby="question"')[2]) | {"confirmed": "yes"}
    browser.post(POOL, answer)
    warm.refresh_from_db()
    assert warm.state == SandboxState.USED


def test_killing_a_busy_one_names_what_is_cancelled(
    visitor: Visitor, python_runtime: Runtime, make_execution: Callable[..., Execution]
) -> None:
    execution = make_execution(status=Status.RUNNING)
    busy = sandbox(python_runtime, SandboxState.CLAIMED, execution_id=execution.pk)
    html = visitor("operator").post(POOL, {"action": "kill", "sandbox": busy.pk}).content.decode()
    assert f"The execution {str(execution.pk)[-12:]} runs in it and is cancelled." in words(html)


def test_draining_retires_the_warm_ones(visitor: Visitor, python_runtime: Runtime) -> None:
    warm, starting = sandbox(python_runtime), sandbox(python_runtime, SandboxState.STARTING)
    visitor("operator").post(POOL, {"action": "drain", "runtime": python_runtime.pk, "confirmed": "yes"})
    warm.refresh_from_db()
    starting.refresh_from_db()
    assert (warm.state, starting.state) == (SandboxState.USED, SandboxState.STARTING)


def test_killing_a_busy_one_cancels_its_execution(
    visitor: Visitor, python_runtime: Runtime, make_execution: Callable[..., Execution]
) -> None:
    execution = make_execution(status=Status.RUNNING)
    busy = sandbox(python_runtime, SandboxState.CLAIMED, execution_id=execution.pk)
    visitor("operator").post(POOL, {"action": "kill", "sandbox": busy.pk, "confirmed": "yes"})
    execution.refresh_from_db()
    assert execution.cancel_outcome == Outcome.CANCEL_REQUESTED


def test_resizing_keeps_the_revision_and_so_the_warm_ones(browser: Browser, python_runtime: Runtime) -> None:
    browser.post(POOL, {"action": "resize", "runtime": python_runtime.pk, "pool_min": "2", "pool_max": "5"})
    revision = python_runtime.revision
    python_runtime.refresh_from_db()
    assert (python_runtime.pool_min, python_runtime.pool_max, python_runtime.revision) == (2, 5, revision)


@pytest.mark.parametrize("least, most", [("5", "2"), ("x", "2"), ("-1", "2"), ("1", "201"), ("", "")])
def test_nonsense_sizes_are_refused(browser: Browser, python_runtime: Runtime, least: str, most: str) -> None:
    data = {"action": "resize", "runtime": python_runtime.pk, "pool_min": least, "pool_max": most}
    assert browser.post(POOL, data, follow=True).status_code == 200
    python_runtime.refresh_from_db()
    assert (python_runtime.pool_min, python_runtime.pool_max) == (1, 8)


@pytest.mark.parametrize("role, action", [("operator", "resize"), ("auditor", "drain"), ("auditor", "kill")])
def test_others_pull_no_lever(visitor: Visitor, python_runtime: Runtime, role: str, action: str) -> None:
    warm = sandbox(python_runtime)
    data = {"action": action, "runtime": python_runtime.pk, "sandbox": warm.pk, "pool_min": 0, "pool_max": 0}
    assert visitor(role).post(POOL, data).status_code == 403
    warm.refresh_from_db()
    assert warm.state == SandboxState.READY


@pytest.mark.parametrize("number", ["", "x", "9" * 40, "²"])
def test_what_is_not_there_is_not_killed(browser: Browser, number: str) -> None:
    response = browser.post(POOL, {"action": "kill", "sandbox": number}, follow=True)
    assert "The sandbox was already gone." in response.content.decode()
