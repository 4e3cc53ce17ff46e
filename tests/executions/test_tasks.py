"""The worker's boundary."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connection
from pytest_django import Settings

from executions import acquisition, tasks
from executions.models import Execution, Outcome, Status
from runtimes.models import Network, Runtime
from sandboxes.configuration import SandboxConfiguration
from sandboxes.engine import ImageMissing
from tests.sandboxes.answering import keeper_with
from tests.sandboxes.stub_engine import StubEngine

QUOTED = "Failing row contains (the program's text)"


def test_unforeseen_fault_ends_the_execution_and_is_logged_without_what_it_quotes(
    make_execution: Callable[..., Execution], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(_execution: Any) -> None:
        raise IntegrityError(QUOTED)

    # Postgres refuses no row that this code writes.
    monkeypatch.setattr(tasks, "run", refused)
    execution = make_execution(status=Status.QUEUED)
    tasks.run_execution(str(execution.pk))
    execution.refresh_from_db()
    assert (execution.status, execution.outcome) == (Status.PLATFORM_ERROR, Outcome.INTERNAL)
    assert QUOTED not in caplog.text
    assert "IntegrityError" in caplog.text
    assert "in refused" in caplog.text


@pytest.mark.parametrize(("alive", "behind", "expected"), [(1, 0, True), (0, 0, False), (1, 1, False)])
def test_run_waits_for_a_keeper_that_is_alive_and_starts_its_revision(
    python_runtime: Runtime, monkeypatch: pytest.MonkeyPatch, alive: int, behind: int, expected: bool
) -> None:
    monkeypatch.setattr(acquisition.liveness, "keeper_alive", lambda node: bool(alive))
    configuration = SandboxConfiguration.of_runtime(python_runtime, Network.NONE)
    Runtime.objects.update(revision=python_runtime.revision + behind)
    assert acquisition.keeper_will_start(configuration) is expected


def test_run_does_not_wait_for_a_sandbox_of_an_image_that_the_node_lacks(
    transactional_db: None,
    python_runtime: Runtime,
    make_execution: Callable[..., Execution],
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
) -> None:
    settings.SANDBOX_NODE = "test-missing"
    monkeypatch.setattr(acquisition, "LOOK_AGAIN_S", 0.05)
    engine = StubEngine()
    engine.missing.add(python_runtime.image)
    configuration = SandboxConfiguration.of_runtime(python_runtime, Network.NONE)
    claimant = acquisition.claimant_of(make_execution(status=Status.RUNNING))
    # It would wait for the keeper until the deadline: the keeper is alive, and starts nothing.
    with keeper_with(node="test-missing"), pytest.raises(ImageMissing):
        acquisition.wait_for_keeper(engine, configuration, claimant, time.monotonic() + 30)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM sandboxes_wait")
        assert cursor.fetchone() == (0,)
    engine.close()


@pytest.mark.parametrize(
    ("source", "remedy"),
    [("docker", "make build RUNTIMES=python"), ("registry", "push it"), ("archive", "SANDBOX_IMAGE_ARCHIVES")],
)
def test_missing_image_is_told_with_what_to_do_about_it(
    make_execution: Callable[..., Execution],
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    source: str,
    remedy: str,
) -> None:
    def missing(_execution: Any) -> None:
        raise ImageMissing("runtime-python")

    settings.SANDBOX_IMAGE_SOURCE = source
    monkeypatch.setattr(tasks, "run", missing)
    execution = make_execution(status=Status.QUEUED)
    tasks.run_execution(str(execution.pk))
    execution.refresh_from_db()
    assert remedy in execution.message
