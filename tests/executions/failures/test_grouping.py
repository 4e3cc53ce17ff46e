from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from audit import purging, sealing
from audit.models import ExecutionPart, RetentionPolicy
from clients.models import Client
from executions.failures import grouping
from executions.failures.fingerprints import Facts, Fingerprint, Kind, fingerprint
from executions.failures.grouping import group_failures, groups_first_seen_since, sweep
from executions.failures.models import FailureGroup, FailureHour, FailurePending, FailureRun
from executions.failures.traces import MOST
from executions.models import Execution, Outcome, Status
from executions.services import cancel, finish
from executions.verdict import Verdict

MakeExecution = Callable[..., Execution]
TRACE = 'Traceback (most recent call last):\n  File "/workspace/main.py", line 2, in main\n{}\n'


@pytest.fixture
def fail(make_execution: MakeExecution) -> Callable[..., Execution]:
    def fail(error: str = "ValueError: bad 1", **given: Any) -> Execution:
        plain = {"status": Status.FAILED, "outcome": Outcome.NONZERO_EXIT, "exit_code": 1}
        return make_execution(**plain | {"stderr": TRACE.format(error)} | given)

    return fail


Fail = Callable[..., Execution]


def test_the_same_exception_is_one_group(fail: Fail) -> None:
    runs = [fail(f"ValueError: bad {number}") for number in range(3)]
    fail("KeyError: 'x'")
    assert group_failures() == 4
    group = FailureGroup.objects.get(title="ValueError")
    assert (group.count, group.message, group.place) == (3, "bad <n>", "main.py in main")
    assert {run.execution_id for run in group.runs.all()} == {run.pk for run in runs}
    assert (group.first_at, group.last_at) == (runs[0].finished_at, runs[-1].finished_at)


def test_runs_are_counted_once(fail: Fail) -> None:
    fail()
    group_failures()
    assert group_failures() == 0
    FailurePending.objects.create(execution_id=Execution.objects.get().pk)  # named again, say by hand
    group_failures()
    assert FailureGroup.objects.get().count == 1
    assert FailureHour.objects.get().count == 1


def test_a_run_that_fails_later_is_grouped(make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.QUEUED)
    assert not FailurePending.objects.exists()
    verdict = Verdict(Status.FAILED, Outcome.NONZERO_EXIT, exit_code=3)
    assert finish(execution.pk, verdict, redacting=False)
    group_failures()
    assert FailureGroup.objects.get().title == "Exit status 3"


def test_ends_that_are_no_failures_are_not_grouped(make_execution: MakeExecution) -> None:
    make_execution()
    cancel(make_execution(status=Status.QUEUED).pk, outcome=Outcome.CANCEL_REQUESTED)
    assert group_failures() == 0


def test_a_run_that_waited_too_long_is_a_failure(make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.QUEUED)
    finish(execution.pk, Verdict(Status.CANCELLED, Outcome.QUEUE_TIMEOUT, "Queue timeout: 30 s."), redacting=False)
    group_failures()
    assert FailureGroup.objects.get().kind == Kind.QUEUE


def test_a_transaction_that_is_rolled_back_names_no_run(make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.QUEUED)
    with pytest.raises(IntegrityError), transaction.atomic():
        finish(execution.pk, Verdict(Status.FAILED, Outcome.NONZERO_EXIT, exit_code=1), redacting=False)
        raise IntegrityError
    assert not FailurePending.objects.exists()


def test_groups_are_per_client_and_runtime(fail: Fail) -> None:
    one, other = (Client.objects.create(name=name) for name in ("one", "other"))
    for client in (one, other, None, None):
        fail(client=client)
    group_failures()
    counts = dict(FailureGroup.objects.values_list("client__name", "count"))
    assert counts == {"one": 1, "other": 1, None: 2}


def test_groups_of_a_client_are_bounded(fail: Fail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "MOST_GROUPS", 3)
    flood, calm = (Client.objects.create(name=name) for name in ("flood", "calm"))
    for name in "ABCDEFG":
        fail(f"{name}Error: x", client=flood)
    fail("AError: x", client=flood)
    fail(client=calm)
    group_failures()
    counts = dict(FailureGroup.objects.filter(client=flood).values_list("title", "count"))
    assert counts == {"AError": 2, "BError": 1, "CError": 1, "Other failures": 4}
    assert FailureGroup.objects.filter(client=calm).count() == 1


def test_the_overflow_is_one_group_however_many_come(fail: Fail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "MOST_GROUPS", 1)
    for name in "ABC":
        fail(f"{name}Error: x")
        group_failures()
    assert sorted(FailureGroup.objects.values_list("count", flat=True)) == [1, 2]


def test_hours_are_those_of_arrival(fail: Fail) -> None:
    at = timezone.now().replace(minute=30) - timedelta(days=3)
    for hours in (0, 0, 5):
        fail(queued_at=at + timedelta(hours=hours), finished_at=at + timedelta(hours=hours + 2))
        group_failures()
    counts = FailureHour.objects.order_by("hour").values_list("count", flat=True)
    assert list(counts) == [2, 1]
    assert FailureHour.objects.earliest("hour").hour == at.replace(minute=0, second=0, microsecond=0)


def test_groups_first_seen_since_leave_out_the_old_history(fail: Fail) -> None:
    began = timezone.now()
    long_ago = began - timedelta(days=5)
    fail("OldError: x", queued_at=long_ago, finished_at=long_ago)
    fail("NewError: x")
    group_failures()
    assert [group.title for group in groups_first_seen_since(began)] == ["NewError"]
    assert not groups_first_seen_since(timezone.now()).exists()


def test_large_output_is_read_in_part(fail: Fail, monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[int]()

    def watched(facts: Facts) -> Fingerprint:
        read.append(len(facts.stderr))
        return fingerprint(facts)

    monkeypatch.setattr(grouping, "fingerprint", watched)
    fail(stderr="x" * 500_000 + "\n" + TRACE.format("ValueError: end"))
    group_failures()
    assert FailureGroup.objects.get().title == "ValueError"
    assert read == [2 * MOST + 1]


def test_a_group_without_runs_goes(fail: Fail, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = fail("AError: x")
    fail("BError: x")
    group_failures()
    # As the purge does it: relations first.
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        purging._delete_with_related(Execution, "pk__in", [gone.pk])
        cursor.execute("SET LOCAL session_replication_role = origin")
    assert FailureRun.objects.count() == 1
    assert sweep() == 1
    assert [group.title for group in FailureGroup.objects.all()] == ["BError"]
    assert FailureHour.objects.count() == 1


def test_a_group_goes_after_ninety_days_without_a_run(fail: Fail) -> None:
    for days, name in ((91, "Old"), (89, "Young")):
        at = timezone.now() - timedelta(days=days)
        fail(f"{name}Error: x", queued_at=at, finished_at=at)
    group_failures()
    sweep()
    assert [group.title for group in FailureGroup.objects.all()] == ["YoungError"]
    assert Execution.objects.count() == 2


def purged(policy: RetentionPolicy, kind: ExecutionPart, days: int) -> None:
    sealing.seal()
    assert purging._purge_batch(policy, kind, days)


Policy = Callable[..., RetentionPolicy]


@pytest.fixture
def policy(db: None) -> Policy:
    return lambda **days: RetentionPolicy.objects.create(**days)


def ago(days: int) -> dict[str, Any]:
    then = timezone.now() - timedelta(days=days)
    return {"queued_at": then, "finished_at": then}


@pytest.mark.parametrize("kind", [ExecutionPart.OUTPUT, ExecutionPart.METADATA])
def test_the_message_goes_with_the_last_output(fail: Fail, policy: Policy, kind: ExecutionPart) -> None:
    fail("ValueError: the word is xyzzy", **ago(5))
    fail("ValueError: the word is xyzzy", **ago(3))
    if kind == ExecutionPart.METADATA:  # one whose output is gone already keeps the group
        execution = fail("ValueError: the word is xyzzy", **ago(1))
    group_failures()
    days = {f"keep_{kind}_days": 4}
    purges = policy(**days)
    purged(purges, kind, 4)
    assert FailureGroup.objects.get().message == "the word is xyzzy"
    if kind == ExecutionPart.METADATA:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            Execution.objects.filter(pk=execution.pk).update(stderr="", stdout="")
            cursor.execute("SET LOCAL session_replication_role = origin")
    RetentionPolicy.objects.update(**{f"keep_{kind}_days": 2})
    purged(purges, kind, 2)
    group = FailureGroup.objects.get()
    assert (group.kind, group.title, group.message, group.place) == (
        Kind.EXCEPTION, "ValueError", "", "main.py in main",
    )  # fmt: skip


def test_it_stays_when_only_code_is_purged(fail: Fail, policy: Policy) -> None:
    fail("ValueError: the word is xyzzy", **ago(5))
    group_failures()
    purged(policy(keep_code_days=4), ExecutionPart.CODE, 4)
    assert FailureGroup.objects.get().message == "the word is xyzzy"


def test_a_later_run_of_the_failure_tells_it_again(fail: Fail, policy: Policy) -> None:
    fail("ValueError: the word is xyzzy", **ago(5))
    group_failures()
    purged(policy(keep_output_days=4), ExecutionPart.OUTPUT, 4)
    fail("ValueError: the word is xyzzy")
    group_failures()
    group = FailureGroup.objects.get()
    assert (group.count, group.message) == (2, "the word is xyzzy")


def test_messages_that_quote_no_output_stay(fail: Fail, policy: Policy) -> None:
    fail("", stderr="x", status=Status.CANCELLED, outcome=Outcome.QUEUE_TIMEOUT, message="Waited.", **ago(5))
    group_failures()
    purged(policy(keep_output_days=4), ExecutionPart.OUTPUT, 4)
    assert FailureGroup.objects.get().message == "Waited."


def test_what_an_earlier_version_left_is_swept(
    fail: Fail, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail("ValueError: the word is xyzzy", **ago(5))
    group_failures()
    with monkeypatch.context() as before:
        before.setattr(grouping, "quoting", lambda ids: [])
        purged(policy(keep_output_days=4), ExecutionPart.OUTPUT, 4)
    assert FailureGroup.objects.get().message
    sweep()
    assert not FailureGroup.objects.get().message


def test_a_client_can_be_deleted_with_its_groups_left(db: None) -> None:
    client = Client.objects.create(name="gone")
    now = timezone.now()
    group = FailureGroup.objects.create(
        client=client, fingerprint="x", kind=Kind.EXIT, title="t", first_at=now, last_at=now, created_at=now
    )
    client.delete()
    shown = FailureGroup.objects.select_related("client", "runtime").get(pk=group.pk)
    assert shown.client is None
    assert sweep() == 1


def test_ids_of_groups_tell_nothing_of_others(fail: Fail) -> None:
    fail()
    group_failures()
    assert isinstance(FailureGroup.objects.get().pk, UUID)
