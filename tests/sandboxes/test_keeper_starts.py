"""What the keeper does about sandboxes that another process was starting."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from runtimes.models import Runtime
from sandboxes.leftovers import START_GRACE_S
from sandboxes.models import Sandbox, SandboxState
from tests.live import eventually
from tests.sandboxes.stub_engine import StubEngine
from tests.sandboxes.test_keeper import container_of, engine, keeping, node, ready, runtime, sandbox_of

__all__ = ["engine", "node", "runtime"]


@pytest.mark.parametrize(("held", "age_s"), [(False, 0), (True, START_GRACE_S + 1)])
def test_container_that_a_dead_starter_left_is_removed_with_its_row(
    runtime: Runtime, engine: StubEngine, held: bool, age_s: float
) -> None:
    # An earlier keeper's start is known to be dead, a build's only after a while.
    row = sandbox_of(runtime, state=SandboxState.STARTING, held=held)
    Sandbox.objects.update(created_at=timezone.now() - timedelta(seconds=age_s))
    container = container_of(engine, row.pk)
    with keeping(engine):
        eventually(lambda: not Sandbox.objects.filter(pk=row.pk).exists(), "the row is gone")
        eventually(lambda: container in engine.removed, "and its container")


def test_row_of_a_start_that_lost_postgres_is_removed_at_the_next_look(
    runtime: Runtime, engine: StubEngine
) -> None:
    with keeping(engine):
        eventually(lambda: ready(2), "the keeper has started its own")
        row = sandbox_of(runtime, state=SandboxState.STARTING)
        container = container_of(engine, row.pk)
        eventually(lambda: not Sandbox.objects.filter(pk=row.pk).exists(), "the row is gone")
        assert container in engine.removed


@pytest.mark.parametrize("fields", [{"execution_id": uuid.uuid4()}, {"held": True}])
def test_container_that_is_being_started_by_a_worker_is_left_alone(
    runtime: Runtime, engine: StubEngine, fields: dict[str, Any]
) -> None:
    row = sandbox_of(runtime, state=SandboxState.STARTING, **fields)
    container = container_of(engine, row.pk)
    stray = container_of(engine, "")
    with keeping(engine):
        eventually(lambda: stray in engine.removed and ready(2), "the keeper has looked")
        assert container in engine.here
