"""A node before it stops, as a pod does."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from executions import stopping
from executions.models import Execution, Status
from executions.stopping import Left
from sandboxes.models import Node, Sandbox, SandboxState
from tests.sandboxes.test_pool import MakeSandbox, make_sandbox, node

__all__ = ["make_sandbox", "node"]
MakeExecution = Callable[..., Execution]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "LOOK_S", 0.02)
    monkeypatch.setattr(stopping, "REMOVAL_S", 0.1)


@pytest.fixture
def here(transactional_db: None, settings: Settings) -> Node:
    return Node.objects.create(name=settings.SANDBOX_NODE, seen_at=timezone.now())


@pytest.fixture
def taken(make_execution: MakeExecution, settings: Settings) -> MakeExecution:
    def taken(**fields: Any) -> Execution:
        defaults = {"status": Status.RUNNING, "node": settings.SANDBOX_NODE, "claimed_at": timezone.now()}
        return make_execution(**defaults | {"outcome": "", "finished_at": None} | fields)

    return taken


def test_node_without_runs_is_drained_at_once(here: Node) -> None:
    begun = time.monotonic()
    assert stopping.stop(60) == Left(running=0, handed_back=0, sandboxes=0)
    assert time.monotonic() - begun < 5
    here.refresh_from_db()
    assert (here.draining, here.stopping) == (True, True)


def test_run_that_has_begun_goes_on(here: Node, taken: MakeExecution, make_sandbox: MakeSandbox) -> None:
    execution = taken()
    make_sandbox(state=SandboxState.CLAIMED, execution_id=execution.pk)
    assert stopping.stop(0.1) == Left(running=1, handed_back=0, sandboxes=1)
    assert Execution.objects.get(pk=execution.pk).status == Status.RUNNING


def test_run_that_has_not_begun_when_the_time_is_over_is_handed_back(here: Node, taken: MakeExecution) -> None:
    execution = taken()
    assert stopping.stop(0.1) == Left(running=0, handed_back=1, sandboxes=0)
    assert Execution.objects.get(pk=execution.pk).status == Status.QUEUED
    assert OrmQ.objects.count() == 1


def test_runs_of_other_nodes_are_none_of_its_business(here: Node, taken: MakeExecution) -> None:
    taken(node="another")
    assert stopping.stop(60) == Left(running=0, handed_back=0, sandboxes=0)


def test_run_that_ends_in_time_is_waited_for(here: Node, taken: MakeExecution, make_sandbox: MakeSandbox) -> None:
    execution = taken()
    sandbox = make_sandbox(state=SandboxState.CLAIMED, execution_id=execution.pk)

    def end() -> None:
        time.sleep(0.3)
        Execution.objects.filter(pk=execution.pk).update(
            status=Status.SUCCEEDED, outcome="succeeded", finished_at=timezone.now() + timedelta(seconds=1)
        )
        Sandbox.objects.filter(pk=sandbox.pk).delete()
        connection.close()

    other = threading.Thread(target=end)
    other.start()
    found = stopping.stop(30)
    other.join()
    assert found == Left(running=0, handed_back=0, sandboxes=0)


def test_sandboxes_that_nobody_removes_are_told_of(here: Node, make_sandbox: MakeSandbox) -> None:
    make_sandbox(state=SandboxState.USED)
    assert stopping.stop(0.1).sandboxes == 1


def drain_node(*words: str) -> str:
    out = StringIO()
    call_command("drain_node", *words, stdout=out)
    return out.getvalue()


def test_command_says_what_is_left(here: Node, taken: MakeExecution) -> None:
    taken()
    assert drain_node("--wait", "100ms") == (
        f"{here.name} takes no more work. 0 runs go on, 1 were queued again, 0 sandboxes are left.\n"
    )


def test_command_on_a_node_that_never_started_is_no_error(transactional_db: None) -> None:
    assert "There is no node" in drain_node()


def test_time_without_a_unit_is_refused(here: Node) -> None:
    with pytest.raises(CommandError, match="--wait: '60'"):
        drain_node("--wait", "60")
