"""The keeper as a whole, on a real Postgres and an engine without Docker."""

import gc
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings
from django.utils import timezone
from pytest_django import Settings

from executions import services
from executions.models import Execution, Status
from runtimes.models import Runtime
from sandbox_platform.keeper import build_keeper
from sandbox_platform.kit import liveness
from sandbox_platform.kit.notify import POOL, notify
from sandboxes import images, pool
from sandboxes.configuration import SandboxConfiguration
from sandboxes.demand import DEMAND_WINDOW_S, Demand
from sandboxes.engine import SandboxSpec
from sandboxes.keeper import Keeper
from sandboxes.layout import ROW_LABEL
from sandboxes.models import Sandbox, SandboxState
from sandboxes.turns import Claimant
from seccomp_profiles import revisions
from seccomp_profiles.models import hash_rules
from tests.live import eventually
from tests.sandboxes.conftest import Clock
from tests.sandboxes.guest import LIMITS
from tests.sandboxes.stub_engine import StubEngine

MakeExecution = Callable[..., Execution]


# -- the keeper ---------------------------------------------------------------------------------------------


@pytest.fixture
def node(settings: Settings) -> str:
    node = settings.SANDBOX_NODE = f"test-{uuid.uuid4().hex[:12]}"
    settings.SANDBOX_STARTS = 4
    return node


@pytest.fixture
def engine() -> Iterator[StubEngine]:
    engine = StubEngine()
    yield engine
    engine.close()


@pytest.fixture
def runtime(transactional_db: None, node: str, python_runtime: Runtime) -> Runtime:
    Runtime.objects.update(pool_min=2, pool_max=4)
    python_runtime.refresh_from_db()
    return python_runtime


@pytest.fixture
def clock_of_demand(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Clock:
    monkeypatch.setattr("sandboxes.keeper.Demand", lambda: Demand(clock))
    return clock


@pytest.fixture
def quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what no notification announces."""
    monkeypatch.setattr("sandboxes.keeper.TICK_S", 0.1)


@contextmanager
def keeping(engine: StubEngine) -> Iterator[Keeper]:
    """A keeper at work, until the end of the block."""
    keeper = build_keeper(engine)

    def run() -> None:
        keeper.run()
        connection.close()

    thread = threading.Thread(target=run, name="keeper")
    thread.start()
    try:
        yield keeper
    finally:
        keeper.stop()
        notify(POOL)
        thread.join()
        gc.collect()  # the connections of its threads


def states() -> Counter[str]:
    return Counter(Sandbox.objects.values_list("state", flat=True))


def ready(number: int) -> Callable[[], bool]:
    return lambda: states() == {"ready": number}


def sandbox_of(runtime: Runtime, **fields: Any) -> Sandbox:
    defaults = {
        "node": settings.SANDBOX_NODE,
        "runtime": runtime,
        "runtime_revision": runtime.revision,
        "profile_sha256": hash_rules(None),
    }
    return Sandbox.objects.create(**defaults | fields)


def container_of(engine: StubEngine, row: object) -> str:
    spec = SandboxSpec(image="i", limits=LIMITS, labels={ROW_LABEL: str(row)})
    container_id = engine.create(spec)
    engine.start(container_id)
    return container_id


def claim(runtime: Runtime) -> Sandbox | None:
    return pool.claim(SandboxConfiguration.of_runtime(runtime), Claimant(uuid.uuid4()))


def test_pool_is_filled_to_its_minimum(runtime: Runtime, engine: StubEngine) -> None:
    with keeping(engine):
        eventually(ready(2), "two are ready")
        rows = {str(pk) for pk in Sandbox.objects.values_list("pk", flat=True)}
        assert {c.sandbox for c in engine.containers()} == rows


def test_claimed_one_is_replaced(runtime: Runtime, engine: StubEngine) -> None:
    with keeping(engine):
        eventually(ready(2), "two are ready")
        assert claim(runtime)
        eventually(lambda: states() == {"ready": 2, "claimed": 1}, "a third has come")


def test_pool_grows_with_demand_up_to_its_maximum(
    runtime: Runtime, engine: StubEngine, clock_of_demand: Clock
) -> None:
    with keeping(engine):
        for _ in range(6):
            eventually(lambda: claim(runtime), "one more to claim")
        eventually(lambda: states()["ready"] == 4, "as many as the maximum")
        # And no more, whoever wakes the keeper.
        notify(POOL)
        eventually(lambda: states() == {"ready": 4, "claimed": 6}, "still as many")


@pytest.mark.usefixtures("quick_ticks")
def test_pool_shrinks_when_nobody_calls_any_more(
    runtime: Runtime, engine: StubEngine, clock_of_demand: Clock
) -> None:
    with keeping(engine):
        for _ in range(4):
            eventually(lambda: claim(runtime), "one more to claim")
        eventually(lambda: states()["ready"] == 4, "it has grown")
        clock_of_demand.now += DEMAND_WINDOW_S + 1
        eventually(lambda: states()["ready"] == 2, "it has shrunk")


def test_used_one_is_removed_with_its_row(runtime: Runtime, engine: StubEngine) -> None:
    with keeping(engine):
        eventually(ready(2), "two are ready")
        sandbox = claim(runtime)
        assert sandbox
        pool.retire(sandbox)
        eventually(lambda: not Sandbox.objects.filter(pk=sandbox.pk).exists(), "the row is gone")
        assert sandbox.container_id in engine.removed


def test_changed_runtime_retires_its_warm_ones(runtime: Runtime, engine: StubEngine) -> None:
    with keeping(engine):
        eventually(ready(2), "two are ready")
        runtime.memory_bytes *= 2
        runtime.save()
        eventually(
            lambda: ready(2)() and {s.runtime_revision for s in Sandbox.objects.all()} == {runtime.revision},
            "two of the new revision, and no other",
        )


@pytest.mark.usefixtures("quick_ticks")
def test_changed_profile_retires_the_warm_ones(runtime: Runtime, engine: StubEngine) -> None:
    profile = revisions.create_profile("strict", {"defaultAction": "SCMP_ACT_ALLOW"})
    Runtime.objects.update(seccomp_profile=profile)
    with keeping(engine):
        eventually(ready(2), "two are ready")
        revisions.put_in_force(revisions.add_revision(profile, None), by="root")
        eventually(
            lambda: ready(2)() and {s.profile_sha256 for s in Sandbox.objects.all()} == {profile.sha256},
            "two under the new rules, and no other",
        )


@pytest.mark.usefixtures("quick_ticks")
def test_disabled_runtime_keeps_none(runtime: Runtime, engine: StubEngine) -> None:
    with keeping(engine):
        eventually(ready(2), "two are ready")
        Runtime.objects.update(enabled=False)
        eventually(lambda: not states() and not engine.here, "none is left")


def test_disabled_runtime_is_not_started(runtime: Runtime, engine: StubEngine) -> None:
    Runtime.objects.update(enabled=False)
    other = Runtime.objects.create(slug="other", name="Other", image="i", source_file="f")
    with keeping(engine):
        eventually(lambda: Sandbox.objects.filter(runtime=other, state="ready").exists(), "the other's is ready")
        assert not Sandbox.objects.filter(runtime=runtime).exists()


def test_missing_image_does_not_stop_the_others(runtime: Runtime, engine: StubEngine) -> None:
    engine.missing.add(runtime.image)
    other = Runtime.objects.create(slug="other", name="Other", image="i", source_file="f")
    with keeping(engine):
        eventually(lambda: Sandbox.objects.filter(runtime=other, state="ready").exists(), "the other's is ready")


# -- rows and containers ------------------------------------------------------------------------------------


def test_row_whose_container_is_gone_is_replaced(runtime: Runtime, engine: StubEngine) -> None:
    lost = sandbox_of(runtime, state=SandboxState.READY, container_id="gone")
    with keeping(engine):
        eventually(lambda: ready(2)() and not Sandbox.objects.filter(pk=lost.pk).exists(), "two others are ready")


@pytest.mark.usefixtures("quick_ticks")
def test_row_whose_container_has_stopped_is_replaced(runtime: Runtime, engine: StubEngine) -> None:
    with keeping(engine):
        eventually(ready(2), "two are ready")
        dead = Sandbox.objects.earliest("pk")
        engine.here[dead.container_id].running = False
        eventually(lambda: ready(2)() and not Sandbox.objects.filter(pk=dead.pk).exists(), "another is ready")


@pytest.mark.parametrize("row", [999_999, "", "no number"])
def test_container_without_a_row_is_removed(runtime: Runtime, engine: StubEngine, row: object) -> None:
    stray = container_of(engine, row)
    with keeping(engine):
        eventually(lambda: stray in engine.removed, "the stray is gone")


def test_row_of_an_execution_that_has_ended_is_removed(
    runtime: Runtime, engine: StubEngine, make_execution: MakeExecution
) -> None:
    # A worker that was given up claimed it afterwards, or died between the two.
    ended = make_execution(runtime=runtime, status=Status.PLATFORM_ERROR)
    row = sandbox_of(runtime, state=SandboxState.CLAIMED, execution_id=ended.pk, container_id="c")
    with keeping(engine):
        eventually(lambda: not Sandbox.objects.filter(pk=row.pk).exists(), "it is gone")


def test_rows_and_containers_of_other_nodes_are_left_alone(runtime: Runtime, engine: StubEngine) -> None:
    theirs = sandbox_of(runtime, node="another", state=SandboxState.READY, container_id="theirs")
    mine = sandbox_of(runtime, state=SandboxState.READY, container_id="gone")
    with keeping(engine):
        eventually(lambda: not Sandbox.objects.filter(pk=mine.pk).exists(), "the keeper has looked")
        assert Sandbox.objects.filter(pk=theirs.pk, state=SandboxState.READY).exists()


# -- what it does for executions ----------------------------------------------------------------------------


def running(make_execution: MakeExecution, runtime: Runtime, **fields: Any) -> Execution:
    backend = connection.connection.info.backend_pid
    now = timezone.now()
    defaults = {
        "status": Status.RUNNING,
        "node": settings.SANDBOX_NODE,
        "claimed_at": now,
        "worker_backend": backend,
    }
    return make_execution(runtime=runtime, **defaults | fields)


def test_waiting_execution_has_a_sandbox_started_for_it(
    runtime: Runtime, engine: StubEngine, make_execution: MakeExecution
) -> None:
    Runtime.objects.update(pool_min=0)
    running(make_execution, runtime)
    with keeping(engine):
        eventually(ready(1), "one is ready")


def test_cancelled_execution_has_its_sandbox_killed(
    runtime: Runtime, engine: StubEngine, make_execution: MakeExecution
) -> None:
    execution = running(make_execution, runtime)
    with keeping(engine):
        eventually(ready(2), "two are ready")
        sandbox = pool.claim(SandboxConfiguration.of_runtime(runtime), Claimant(execution.pk))
        assert sandbox
        services.cancel(execution.pk)
        eventually(lambda: sandbox.container_id in engine.killed, "it is killed")


def test_cancelled_execution_is_killed_though_its_sandbox_comes_later(
    runtime: Runtime, engine: StubEngine, make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandboxes.keeper.TICK_S", 600)
    execution = running(make_execution, runtime)
    with keeping(engine):
        eventually(ready(2), "two are ready")
        services.cancel(execution.pk)
        time.sleep(0.1)  # the keeper has heard of it, and found nothing to kill
        sandbox = pool.claim(SandboxConfiguration.of_runtime(runtime), Claimant(execution.pk))
        assert sandbox
        eventually(lambda: sandbox.container_id in engine.killed, "it is killed")


def test_keeper_tells_what_an_image_is(runtime: Runtime, engine: StubEngine) -> None:
    engine.missing.add("gone")
    with keeping(engine):
        eventually(ready(2), "two are ready")
        assert (images.image_id("there"), images.image_id("gone")) == ("sha256:there", "")


def test_image_that_cannot_be_had_now_is_not_on_the_node(runtime: Runtime, engine: StubEngine) -> None:
    engine.unavailable.add("in the registry")
    with keeping(engine):
        eventually(ready(2), "two are ready")
        assert images.missing("in the registry").startswith("No node has the image")


def test_image_is_unknown_while_no_keeper_runs(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "PATIENCE_S", 0.1)
    with pytest.raises(images.NobodyAnswers):
        images.image_id("there")


# -- its own fate -------------------------------------------------------------------------------------------


def test_keeper_is_known_to_be_alive(runtime: Runtime, engine: StubEngine, node: str) -> None:
    with keeping(engine):
        eventually(lambda: liveness.keeper_alive(node), "it is alive")
    assert not liveness.keeper_alive(node)


def test_second_keeper_waits_for_the_first_to_go(runtime: Runtime, engine: StubEngine) -> None:
    with keeping(engine):
        eventually(ready(2), "two are ready")
        second = StubEngine()
        for container in list(engine.here):
            second.here[container] = engine.here[container]
        keeper = build_keeper(second)
        thread = threading.Thread(target=lambda: (keeper.run(), connection.close()))
        thread.start()
        pool.retire(Sandbox.objects.earliest("pk"))
        eventually(lambda: len(engine.removed) == 1 and ready(2)(), "the first has replaced one")
        assert not second.created and not second.removed
    pool.retire(Sandbox.objects.earliest("pk"))
    eventually(lambda: second.removed, "the second has taken over")
    keeper.stop()
    notify(POOL)
    thread.join()
    gc.collect()


def test_keeper_outlives_the_loss_of_its_connections(
    runtime: Runtime, engine: StubEngine, node: str, database_url: str
) -> None:
    with keeping(engine):
        eventually(ready(2), "two are ready")
        connection.close()
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        pool.retire(Sandbox.objects.earliest("pk"))
        eventually(lambda: engine.removed and ready(2)(), "it works again")
        assert liveness.keeper_alive(node)


def test_keeper_outlives_the_absence_of_its_engine(runtime: Runtime, engine: StubEngine) -> None:
    with keeping(engine):
        eventually(ready(2), "two are ready")
        engine.away = True
        pool.retire(Sandbox.objects.earliest("pk"))
        eventually(lambda: states()["used"], "it cannot remove it")
        engine.away = False
        eventually(ready(2), "it works again")


def test_keeper_at_work_renews_its_file(runtime: Runtime, engine: StubEngine, tmp_path: Path) -> None:
    with override_settings(SANDBOX_ALIVE_DIR=str(tmp_path)), keeping(engine):
        eventually((tmp_path / "alive.keeper").exists, "it beats")
