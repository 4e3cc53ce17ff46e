"""The history pages of runtimes and executions."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from executions.models import Execution, Outcome, Status
from runtimes.models import MIB, Runtime
from tests.conftest import Visitor
from tests.pages import words


def history(browser: Browser, kind: str, pk: object) -> str:
    response = browser.get(reverse(f"admin:{kind}_history", args=[pk]))
    assert response.status_code == 200
    return words(response.content.decode())


@pytest.fixture
def changed(python_runtime: Runtime) -> Runtime:
    python_runtime.memory_bytes = 300 * MIB
    python_runtime.enabled = False
    python_runtime.environment = {"TOKEN": "hush"}
    python_runtime.save()
    return python_runtime


def test_change_of_a_runtime_has_its_value_before_and_after(browser: Browser, changed: Runtime) -> None:
    shown = history(browser, "runtimes_runtime", changed.pk)
    assert "Memory 256 MiB 300 MiB" in shown
    assert "Enabled true false" in shown


def test_change_of_an_environment_is_told_without_its_values(browser: Browser, changed: Runtime) -> None:
    shown = history(browser, "runtimes_runtime", changed.pk)
    assert "Environment not shown here not shown here" in shown
    assert "hush" not in shown


@pytest.mark.parametrize(("role", "seen"), [("auditor", True), ("operator", False)])
def test_changes_of_a_runtime_are_for_those_who_may_see_the_trail(
    visitor: Visitor, changed: Runtime, role: str, seen: bool
) -> None:
    assert ("256 MiB" in history(visitor(role), "runtimes_runtime", changed.pk)) == seen


def test_history_of_an_execution_is_that_of_its_status(
    browser: Browser, make_execution: Callable[..., Execution]
) -> None:
    now = timezone.now()
    execution = make_execution(
        status=Status.CANCELLED,
        outcome=Outcome.CANCEL_REQUESTED,
        queued_at=now - timedelta(seconds=3),
        claimed_at=now - timedelta(seconds=2),
        cancel_requested_at=now - timedelta(seconds=1),
        finished_at=now,
    )
    shown = history(browser, "executions_execution", execution.pk)
    order = ("Status Running Cancelled", "Cancellation – Requested", "Status Queued Running", "Status – Queued")
    places = [shown.index(change) for change in order]
    assert places == sorted(places)
    assert "doesn’t have a change history" not in shown
