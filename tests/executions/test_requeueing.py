"""What becomes of a run whose worker cannot finish it. The kills themselves are in test_resilience."""

import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from django_q.models import OrmQ

from executions import reaper, representation, services, tasks
from executions.admin.explain import explain
from executions.models import Execution, Outcome, Status
from executions.requeueing import MAX_REQUEUES, hand_back, recover
from executions.verdict import Verdict
from runtimes.models import Runtime
from sandbox_platform.kit import liveness
from sandboxes import pool
from sandboxes.configuration import SandboxConfiguration
from sandboxes.models import Sandbox, SandboxState
from sandboxes.turns import Claimant
from tests.live import eventually
from tests.sandboxes.stub_engine import StubEngine
from tests.sandboxes.test_pool import MakeSandbox, make_sandbox, node

__all__ = ["make_sandbox", "node"]
MakeExecution = Callable[..., Execution]
NO_BACKEND = 2**31 - 1
LONG_AGO = timedelta(days=365)
LONG_LIMITS = {"wall_time_ms": 2 * LONG_AGO.total_seconds() * 1000}


@pytest.fixture
def taken(make_execution: MakeExecution) -> MakeExecution:
    """Create a run that a worker has taken."""

    def taken(**fields: Any) -> Execution:
        defaults = {"status": Status.RUNNING, "node": settings.SANDBOX_NODE, "claimed_at": timezone.now()}
        return make_execution(**defaults | fields)

    return taken


def facts(execution: Execution) -> tuple[str, str, bool | None, int, int]:
    """Status, outcome, whether it may have started, requeues and tasks in the queue."""
    it = Execution.objects.get(pk=execution.pk)
    return it.status, it.outcome, it.may_have_started, it.requeues, OrmQ.objects.count()


def test_run_without_a_sandbox_is_queued_again(taken: MakeExecution) -> None:
    execution = taken()
    recover(execution.pk, 0)
    assert facts(execution) == ("queued", "", False, 1, 1)


def test_run_with_a_claimed_sandbox_is_lost(taken: MakeExecution, make_sandbox: MakeSandbox) -> None:
    execution = taken()
    make_sandbox(state=SandboxState.CLAIMED, execution_id=execution.pk)
    recover(execution.pk, 0)
    assert facts(execution) == ("platform_error", "worker_lost", True, 0, 0)


def test_worker_that_has_not_sent_the_job_gives_its_sandbox_back(
    taken: MakeExecution, make_sandbox: MakeSandbox
) -> None:
    execution = taken()
    make_sandbox(state=SandboxState.CLAIMED, execution_id=execution.pk)
    recover(execution.pk, 0, job_sent=False)
    assert facts(execution) == ("queued", "", False, 1, 1)
    assert Sandbox.objects.values_list("state", "execution_id").get() == (SandboxState.USED, None)


def test_run_is_queued_again_only_so_often(taken: MakeExecution) -> None:
    execution = taken(requeues=MAX_REQUEUES)
    recover(execution.pk, MAX_REQUEUES)
    assert facts(execution) == ("platform_error", "worker_lost", False, MAX_REQUEUES, 0)


def test_run_that_was_cancelled_is_not_queued_again(taken: MakeExecution) -> None:
    execution = taken(cancel_requested_at=timezone.now(), cancel_outcome=Outcome.CANCEL_REQUESTED)
    recover(execution.pk, 0)
    assert facts(execution) == ("cancelled", "cancel_requested", False, 0, 0)


@pytest.mark.parametrize("fields", [{"requeues": 2}, {"status": Status.QUEUED}])
def test_earlier_attempt_changes_nothing(taken: MakeExecution, fields: dict[str, Any]) -> None:
    execution = taken(**{"requeues": 1} | fields)
    before = facts(execution)
    for attempt in (0, 1):
        ended = services.finish(execution.pk, Verdict(Status.FAILED, Outcome.NONZERO_EXIT, ""), attempt=attempt)
        assert not ended
        recover(execution.pk, attempt)
    assert facts(execution) == before


def test_sandbox_that_a_given_up_run_was_starting_is_not_its_own(
    taken: MakeExecution, python_runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution, engine = taken(), StubEngine()
    start = engine.start

    def start_and_lose(container_id: str) -> None:
        recover(execution.pk, 0)
        start(container_id)

    monkeypatch.setattr(engine, "start", start_and_lose)
    configuration = SandboxConfiguration.of_runtime(python_runtime)
    with pytest.raises(pool.Superseded):
        pool.start(engine, configuration, claimant=Claimant(execution.pk))
    with pytest.raises(pool.Superseded):
        pool.start(engine, configuration, claimant=Claimant(execution.pk))
    engine.close()
    assert Sandbox.objects.values_list("state", "execution_id").get() == (SandboxState.USED, None)


@pytest.mark.django_db(transaction=True)
def test_requeue_waits_for_a_claim_at_the_same_time(
    taken: MakeExecution, make_sandbox: MakeSandbox, python_runtime: Runtime, database_url: str
) -> None:
    execution = taken()
    make_sandbox()

    def reap() -> None:
        recover(execution.pk, 0)
        connection.close()

    reaping = threading.Thread(target=reap)
    with transaction.atomic(), psycopg.connect(database_url, autocommit=True) as other:
        assert pool.claim(SandboxConfiguration.of_runtime(python_runtime), Claimant(execution.pk))
        reaping.start()
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        eventually(lambda: other.execute(waiting).fetchall(), "the requeue waits for the claim")
    reaping.join()
    assert facts(execution) == ("platform_error", "worker_lost", True, 0, 0)


# -- the reaper ---------------------------------------------------------------------------------------------


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_run_whose_workers_session_is_gone_is_recovered_on_whatever_node(taken: MakeExecution) -> None:
    here, there = taken(worker_backend=NO_BACKEND), taken(worker_backend=NO_BACKEND, node="gone")
    assert reaper.reap_lost() == 2
    assert {facts(execution)[0] for execution in (here, there)} == {"queued"}


def test_run_of_a_live_worker_is_left_alone(taken: MakeExecution) -> None:
    taken(worker_backend=backend())
    assert reaper.reap_lost() == 0


def test_session_of_a_machine_that_is_gone_does_not_last(db: None) -> None:
    keepalive = {}
    with connection.cursor() as cursor:
        for name in ("idle", "interval", "count"):
            cursor.execute(f"SHOW tcp_keepalives_{name}")
            keepalive[name] = int(cursor.fetchone()[0])
    assert keepalive["idle"] + keepalive["interval"] * keepalive["count"] <= 30


@pytest.mark.parametrize(
    ("claimed", "cluster_lives", "status"),
    [(False, True, "queued"), (True, True, "running"), (True, False, "platform_error")],
)
@pytest.mark.django_db(transaction=True)
def test_run_from_before_a_restart_of_postgres(
    taken: MakeExecution, make_sandbox: MakeSandbox, database_url: str, monkeypatch: pytest.MonkeyPatch,
    claimed: bool, cluster_lives: bool, status: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(reaper, "RECONNECTED_AFTER", timedelta(0))
    liveness.begin_cluster()
    execution = taken(
        claimed_at=timezone.now() - LONG_AGO, worker_backend=backend(), limits=LONG_LIMITS,
        worker_cluster=liveness.cluster_key(),
    )  # fmt: skip
    if claimed:
        make_sandbox(state=SandboxState.CLAIMED, execution_id=execution.pk)
    with psycopg.connect(database_url, autocommit=True) as worker:
        if cluster_lives:
            liveness.hold_worker(worker, settings.SANDBOX_NODE)
        reaper.reap_lost()
    assert facts(execution)[0] == status


def test_clusters_have_a_while_to_come_back_after_a_restart(
    taken: MakeExecution, make_sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "RECONNECTED_AFTER", LONG_AGO)
    execution = taken(claimed_at=timezone.now() - LONG_AGO, limits=LONG_LIMITS, worker_cluster=1)
    make_sandbox(state=SandboxState.CLAIMED, execution_id=execution.pk)
    assert reaper.reap_lost() == 0


@pytest.mark.django_db(transaction=True)
def test_run_of_a_worker_whose_clock_is_behind_keeps_its_time(
    taken: MakeExecution, make_sandbox: MakeSandbox, database_url: str
) -> None:
    liveness.begin_cluster()
    execution = taken(
        claimed_at=timezone.now() - LONG_AGO, worker_backend=backend(), worker_cluster=liveness.cluster_key()
    )
    sandbox = make_sandbox(state=SandboxState.CLAIMED, execution_id=execution.pk, claimed_at=timezone.now())
    with psycopg.connect(database_url, autocommit=True) as worker:
        liveness.hold_worker(worker, settings.SANDBOX_NODE)
        assert reaper.reap_lost() == 0
        Sandbox.objects.filter(pk=sandbox.pk).update(claimed_at=timezone.now() - LONG_AGO)
        assert reaper.reap_lost() == 1


# -- the worker ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OperationalError, psycopg.OperationalError])
@pytest.mark.parametrize(
    ("job_sent", "expected"),
    [(False, ("queued", "", False, 1, 1)), (True, ("platform_error", "internal", True, 0, 0))],
)
def test_worker_that_loses_postgres(
    make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch, error: type[Exception],
    job_sent: bool, expected: tuple[Any, ...],
) -> None:  # fmt: skip
    def lose(execution: Any) -> None:
        execution.job_sent = job_sent
        raise error

    monkeypatch.setattr(tasks, "run", lose)
    execution = make_execution(status=Status.QUEUED)
    tasks.run_execution(str(execution.pk))
    assert facts(execution) == expected


def test_execution_that_another_worker_took_meanwhile_is_not_run(make_execution: MakeExecution) -> None:
    assert tasks.take(str(make_execution(status=Status.RUNNING).pk)) is None
    assert tasks.take(str(uuid.uuid4())) is None


# -- what callers see ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "started"),
    [
        ({"status": Status.QUEUED}, False),
        ({"status": Status.RUNNING}, None),
        ({"started": True}, True),
        ({"status": Status.PLATFORM_ERROR, "outcome": Outcome.WORKER_LOST, "started": False}, False),
        # Ended before the column existed.
        ({"started_at": timezone.now()}, True),
        ({"status": Status.PLATFORM_ERROR, "outcome": Outcome.WORKER_LOST}, True),
        ({"status": Status.CANCELLED, "outcome": Outcome.QUEUE_TIMEOUT}, False),
    ],
)
def test_caller_sees_whether_the_program_may_have_started(
    make_execution: MakeExecution, fields: dict[str, Any], started: bool | None
) -> None:
    answer = representation.detail(make_execution(**fields), None)
    assert (answer["started"], answer["requeues"]) == (started, 0)


def test_page_says_whether_the_program_may_have_started(make_execution: MakeExecution) -> None:
    lost = {"status": Status.PLATFORM_ERROR, "outcome": Outcome.WORKER_LOST}
    remedies = [
        explanation.remedies[-1]
        for started in (True, False)
        if (explanation := explain(make_execution(**lost, started=started)))
    ]
    assert remedies == [
        "Retry. The program may have run in part before the failure.",
        "Retry. The program never ran.",
    ]


# -- a worker that lives, whose node stops ------------------------------------------------------------------


def test_run_without_a_sandbox_is_handed_back(taken: MakeExecution) -> None:
    execution = taken()
    assert hand_back(execution.pk, 0)
    assert facts(execution) == ("queued", "", False, 1, 1)


def test_run_with_a_claimed_sandbox_goes_on(taken: MakeExecution, make_sandbox: MakeSandbox) -> None:
    execution = taken()
    make_sandbox(state=SandboxState.CLAIMED, execution_id=execution.pk)
    assert not hand_back(execution.pk, 0)
    assert facts(execution)[:4] == ("running", "", None, 0)


def test_sandbox_that_starts_for_a_run_that_is_handed_back_is_given_up(
    taken: MakeExecution, make_sandbox: MakeSandbox
) -> None:
    execution = taken()
    make_sandbox(state=SandboxState.STARTING, execution_id=execution.pk)
    assert hand_back(execution.pk, 0)
    assert Sandbox.objects.values_list("state", "execution_id").get() == (SandboxState.USED, None)


def test_worker_gets_no_sandbox_for_a_run_that_was_handed_back(
    taken: MakeExecution, make_sandbox: MakeSandbox, python_runtime: Runtime
) -> None:
    execution = taken()
    make_sandbox(state=SandboxState.READY)
    assert hand_back(execution.pk, 0)
    configuration = SandboxConfiguration.of_runtime(python_runtime)
    assert pool.claim(configuration, Claimant(execution.pk, 0, 0)) is None


@pytest.mark.parametrize(
    "fields", [{"requeues": MAX_REQUEUES}, {"cancel_requested_at": timezone.now(), "cancel_outcome": "cancelled"}]
)
def test_run_that_would_end_instead_is_left_to_its_worker(taken: MakeExecution, fields: dict[str, Any]) -> None:
    execution = taken(**fields)
    assert not hand_back(execution.pk, execution.requeues)
    assert Execution.objects.get(pk=execution.pk).status == Status.RUNNING


def test_later_attempt_is_not_handed_back(taken: MakeExecution) -> None:
    execution = taken(requeues=1)
    assert not hand_back(execution.pk, 0)
