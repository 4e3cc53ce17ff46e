"""What a dead node left in the database is removed by those who live."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from executions import dead_nodes
from executions.models import Execution, Status
from runtimes.models import Runtime
from sandboxes import nodes
from sandboxes.models import Sandbox, SandboxState, Wait
from tests.live import eventually

MakeExecution = Callable[..., Execution]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's Postgres has not been up for three minutes."""
    monkeypatch.setattr(nodes, "DEAD_AFTER", timedelta(0))


def row(runtime: Runtime, state: SandboxState, node: str = "gone", execution: UUID | None = None) -> Sandbox:
    return Sandbox.objects.create(
        runtime=runtime, runtime_revision=1, node=node, state=state, execution_id=execution
    )


def test_its_sandboxes_are_forgotten_and_ours_are_not(python_runtime: Runtime) -> None:
    for state in (SandboxState.STARTING, SandboxState.READY, SandboxState.USED):
        row(python_runtime, state)
    ours = row(python_runtime, SandboxState.READY, settings.SANDBOX_NODE)
    assert dead_nodes.clear() == 3
    assert Sandbox.objects.get() == ours


def test_the_mark_that_a_program_may_have_started_stays_until_its_execution_has_ended(
    python_runtime: Runtime, make_execution: MakeExecution
) -> None:
    running = make_execution(status=Status.RUNNING, finished_at=None, outcome="")
    row(python_runtime, SandboxState.CLAIMED, execution=running.pk)
    assert dead_nodes.clear() == 0
    Execution.objects.filter(pk=running.pk).delete()
    assert dead_nodes.clear() == 1


@pytest.mark.django_db(transaction=True)
def test_a_sandbox_that_its_node_claims_meanwhile_stays(
    python_runtime: Runtime, make_execution: MakeExecution
) -> None:
    running = make_execution(status=Status.RUNNING, finished_at=None, outcome="")
    ready = row(python_runtime, SandboxState.READY)

    def clear() -> None:
        dead_nodes.clear()
        connection.close()

    clearing = threading.Thread(target=clear)
    with transaction.atomic():
        # The node is back from a cut: its claim is not committed yet when the others look.
        Sandbox.objects.filter(pk=ready.pk).update(state=SandboxState.CLAIMED, execution_id=running.pk)
        clearing.start()
        eventually(lambda: bool(blocked()), "the deletion waits for the claim")
    clearing.join()
    assert Sandbox.objects.get() == ready


def blocked() -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_locks WHERE NOT granted")
        return cursor.fetchall()


def test_places_of_runs_whose_worker_died_are_given_up(python_runtime: Runtime) -> None:
    for number, age in ((1, 2), (2, 0)):
        Wait.objects.create(
            execution_id=UUID(int=number), client_id=0, node="gone", runtime=python_runtime, network="none",
            seen_at=timezone.now() - timedelta(hours=age),
        )  # fmt: skip
    dead_nodes.clear()
    assert Wait.objects.get().execution_id == UUID(int=2)
