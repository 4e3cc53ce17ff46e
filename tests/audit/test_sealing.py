import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from audit import sealing
from audit.jobs import run_due
from audit.models import Leaf, Pending, Seal
from audit.verification import verify
from executions.models import Artifact, Execution, Status
from runtimes.models import Runtime

MakeExecution = Callable[..., Execution]


def is_sealed(execution: Execution) -> bool:
    return Leaf.objects.filter(row_id=str(execution.pk)).exists()


def test_seal_covers_executions_and_changes(make_execution: MakeExecution) -> None:
    make_execution()
    sealing.seal()
    assert set(Leaf.objects.values_list("source", flat=True)) == {"executions_execution", "audit_runtimeevent"}
    assert not Pending.objects.exists()


def test_seal_leaves_out_what_still_runs(make_execution: MakeExecution) -> None:
    running = make_execution(status=Status.RUNNING)
    sealing.seal()
    assert not is_sealed(running)


def test_seal_continues_the_last_one(make_execution: MakeExecution) -> None:
    (first,) = sealing.seal()
    make_execution()
    (second,) = sealing.seal()
    assert (second.sequence, second.previous, second.period_from) == (2, first.hash, first.period_to)


def test_seal_hash_depends_on_artifacts(make_execution: MakeExecution) -> None:
    executions = [make_execution(), make_execution()]
    Artifact.objects.create(execution=executions[1], name="a", content=b"x", size=1)
    sealing.seal()
    hashes = [bytes(leaf.artifacts) for leaf in Leaf.objects.filter(source="executions_execution")]
    assert hashes[0] != hashes[1]


def test_long_queue_makes_several_seals(make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "ROWS", 3)
    executions = [make_execution() for _ in range(3)]
    assert [seal.count for seal in sealing.seal()] == [3, 1]
    assert all(map(is_sealed, executions))
    assert not list(verify())


def test_due_seal_waits_for_its_hour(make_execution: MakeExecution) -> None:
    sealing.seal()
    make_execution()
    run_due()
    assert Seal.objects.count() == 1


def test_due_seal_is_made_after_its_hour(make_execution: MakeExecution) -> None:
    sealing.seal()
    assert sealing.seal(older_than=timezone.now() + timedelta(seconds=1))


def test_head_is_logged(make_execution: MakeExecution, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "audit"):
        (seal,) = sealing.seal()
    assert seal.hash in caplog.text


@pytest.mark.django_db(transaction=True)
def test_row_that_commits_late_gets_the_next_seal(make_execution: MakeExecution) -> None:
    """Its transaction, and its own clock, are older than a seal that could not see it."""
    inserted, may_commit = threading.Event(), threading.Event()
    late: list[Execution] = []

    def insert() -> None:
        with transaction.atomic():
            late.append(make_execution())
            inserted.set()
            may_commit.wait(20)
        connection.close()

    thread = threading.Thread(target=insert)
    thread.start()
    assert inserted.wait(20)
    sealing.seal()
    assert not is_sealed(late[0])
    may_commit.set()
    thread.join()
    sealing.seal()
    assert is_sealed(late[0])
    assert not list(verify())


@pytest.mark.django_db(transaction=True)
def test_two_keepers_make_one_seal(python_runtime: Runtime) -> None:
    start = threading.Barrier(2)

    def chores() -> None:
        start.wait(20)
        run_due()
        connection.close()

    threads = [threading.Thread(target=chores) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Seal.objects.count() == 1
