from collections.abc import Callable

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from executions.models import Artifact, Execution, Outcome, Status
from executions.models.execution import OPEN, TERMINAL
from runtimes.models import Runtime
from sandbox_platform.kit.notify import PROGRESS, Listener, notify
from sandboxes.models import Sandbox, SandboxState

MakeExecution = Callable[..., Execution]


@pytest.mark.parametrize("status", OPEN)
def test_execution_open_has_no_outcome(make_execution: MakeExecution, status: Status) -> None:
    assert make_execution(status=status).is_finished is False


@pytest.mark.parametrize("status", TERMINAL)
def test_execution_terminal_has_outcome_and_end(make_execution: MakeExecution, status: Status) -> None:
    assert make_execution(status=status).is_finished is True


def test_execution_unknown_status_is_refused(make_execution: MakeExecution) -> None:
    # With outcome and end like a terminal one: the other constraint refuses it as well, so name ours.
    with pytest.raises(IntegrityError, match="execution_status_is_known|execution_finished_iff_terminal"):
        make_execution(status="done")


def test_execution_terminal_without_outcome_is_refused(make_execution: MakeExecution) -> None:
    with pytest.raises(IntegrityError, match="execution_finished_iff_terminal"):
        make_execution(status=Status.FAILED, outcome="")


def test_execution_terminal_without_end_is_refused(make_execution: MakeExecution) -> None:
    with pytest.raises(IntegrityError, match="execution_finished_iff_terminal"):
        make_execution(status=Status.FAILED, finished_at=None)


def test_execution_running_with_outcome_is_refused(make_execution: MakeExecution) -> None:
    with pytest.raises(IntegrityError, match="execution_finished_iff_terminal"):
        make_execution(status=Status.RUNNING, outcome=Outcome.COMPLETED)


def test_execution_running_with_end_is_refused(make_execution: MakeExecution) -> None:
    with pytest.raises(IntegrityError, match="execution_finished_iff_terminal"):
        make_execution(status=Status.RUNNING, finished_at=timezone.now())


def test_execution_open_may_change(make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.QUEUED)
    assert Execution.objects.filter(pk=execution.pk).update(status=Status.RUNNING) == 1


def test_execution_open_may_end(make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.RUNNING)
    ended = Execution.objects.filter(pk=execution.pk).update(
        status=Status.TIMED_OUT, outcome=Outcome.WALL_TIME, finished_at=timezone.now()
    )
    assert ended == 1


@pytest.mark.parametrize("status", TERMINAL)
def test_execution_terminal_never_changes(make_execution: MakeExecution, status: Status) -> None:
    execution = make_execution(status=status)
    with pytest.raises(DatabaseError, match="Cannot update or delete"), transaction.atomic():
        Execution.objects.filter(pk=execution.pk).update(stdout="another story")


def test_execution_terminal_never_reopens(make_execution: MakeExecution) -> None:
    execution = make_execution()
    with pytest.raises(DatabaseError, match="Cannot update or delete"), transaction.atomic():
        Execution.objects.filter(pk=execution.pk).update(status=Status.QUEUED, outcome="", finished_at=None)


def test_execution_terminal_is_never_deleted(make_execution: MakeExecution) -> None:
    execution = make_execution()
    with pytest.raises(DatabaseError, match="Cannot update or delete"), transaction.atomic():
        Execution.objects.filter(pk=execution.pk).delete()


def test_execution_ids_follow_time(make_execution: MakeExecution) -> None:
    first, second = make_execution(), make_execution()
    assert first.pk < second.pk


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("announced", [True, False])
def test_start_is_announced_where_somebody_may_watch(make_execution: MakeExecution, announced: bool) -> None:
    execution = make_execution(status=Status.QUEUED, endpoint="ragflow", announce_start=announced)
    with Listener(PROGRESS) as listener:
        Execution.objects.update(status=Status.RUNNING)
        notify(PROGRESS, "the last")
        heard = [event.payload for event in listener.wait(10)]
    assert (str(execution.pk) in heard) == announced


def test_open_holds_queued_and_running(make_execution: MakeExecution) -> None:
    queued, running = make_execution(status=Status.QUEUED), make_execution(status=Status.RUNNING)
    make_execution(status=Status.SUCCEEDED)
    assert set(Execution.objects.open()) == {queued, running}


@pytest.fixture
def artifact(make_execution: MakeExecution) -> Artifact:
    return Artifact.objects.create(execution=make_execution(), name="plot.png", content=b"PNG", size=3)


def test_artifact_never_changes(artifact: Artifact) -> None:
    with pytest.raises(DatabaseError, match="Cannot update or delete"), transaction.atomic():
        Artifact.objects.filter(pk=artifact.pk).update(content=b"other")


def test_artifact_is_never_deleted(artifact: Artifact) -> None:
    with pytest.raises(DatabaseError, match="Cannot update or delete"), transaction.atomic():
        artifact.delete()


def test_artifact_name_is_unique_within_execution(artifact: Artifact) -> None:
    with pytest.raises(IntegrityError, match="artifact_name_once"):
        Artifact.objects.create(execution=artifact.execution, name="plot.png", content=b"", size=0)


def test_artifact_name_may_recur_in_another_execution(artifact: Artifact, make_execution: MakeExecution) -> None:
    Artifact.objects.create(execution=make_execution(), name=artifact.name, content=b"", size=0)


def make_sandbox(runtime: Runtime, **overrides: object) -> Sandbox:
    fields = {"node": "n", "runtime_revision": 1, "profile_sha256": "", "image_id": ""} | overrides
    return Sandbox.objects.create(runtime=runtime, **fields)


@pytest.mark.parametrize("state", [state for state in SandboxState if state != SandboxState.CLAIMED])
def test_sandbox_known_state_is_accepted(python_runtime: Runtime, state: SandboxState) -> None:
    assert make_sandbox(python_runtime, state=state).pk


def test_sandbox_unknown_state_is_refused(python_runtime: Runtime) -> None:
    with pytest.raises(IntegrityError, match="sandbox_state_is_known"):
        make_sandbox(python_runtime, state="dirty")


def test_sandbox_claimed_without_execution_is_refused(python_runtime: Runtime) -> None:
    with pytest.raises(IntegrityError, match="sandbox_claimed_has_execution"):
        make_sandbox(python_runtime, state=SandboxState.CLAIMED)


def test_sandbox_serves_one_execution(python_runtime: Runtime, make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.RUNNING)
    make_sandbox(python_runtime, state=SandboxState.CLAIMED, execution_id=execution.pk)
    with pytest.raises(IntegrityError, match="sandbox_execution_once"):
        make_sandbox(python_runtime, state=SandboxState.CLAIMED, execution_id=execution.pk)


def test_sandboxes_without_execution_do_not_collide(python_runtime: Runtime) -> None:
    assert make_sandbox(python_runtime).pk != make_sandbox(python_runtime).pk
