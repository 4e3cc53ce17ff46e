from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit import purging, sealing
from audit.models import ExecutionPart, PurgeRecord, RetentionPolicy
from audit.verification import verify
from clients.models import Client
from executions.egress.models import EgressRequest
from executions.models import Artifact, Execution, InputFile, Status
from executions.searching import newest
from tests.audit.conftest import tamper

MakeExecution = Callable[..., Execution]
MakePolicy = Callable[..., RetentionPolicy]


@pytest.fixture
def old(make_execution: MakeExecution) -> MakeExecution:
    """Makes a sealed execution of some days ago."""

    def make(days: int = 10, **overrides: object) -> Execution:
        then = timezone.now() - timedelta(days=days)
        content = {"code": "secret", "stdin": "in", "stdout": "out", "stderr": "err", "result": "1"}
        execution = make_execution(**{"queued_at": then, "finished_at": then} | content | overrides)
        if overrides.get("artifact_count"):
            Artifact.objects.create(execution=execution, name="a", content=b"x", size=1)
        sealing.seal()
        return execution

    return make


def purge() -> list[PurgeRecord]:
    return list(purging.purge())


def test_no_policy_keeps_for_ever(old: MakeExecution) -> None:
    old(days=4000)
    assert purge() == []


def test_code_goes_and_the_rest_stays(old: MakeExecution, make_policy: MakePolicy) -> None:
    execution = old()
    make_policy(keep_code_days=9)
    purge()
    execution.refresh_from_db()
    assert (execution.code, execution.stdin, execution.stdout, execution.result) == ("", "", "out", "1")


def test_input_files_and_variables_go_with_the_code(
    make_execution: MakeExecution, make_policy: MakePolicy
) -> None:
    execution = make_execution(
        finished_at=timezone.now() - timedelta(days=10), input_count=1, variables={"KEY": "secret"}
    )
    InputFile.objects.create(execution=execution, path="in.csv", content=b"1")
    sealing.seal()
    make_policy(keep_code_days=9)
    purge()
    execution.refresh_from_db()
    assert (execution.variables, execution.input_count, list(execution.input_files.all())) == ({}, 1, [])
    assert list(verify()) == []


def test_output_goes_and_the_rest_stays(old: MakeExecution, make_policy: MakePolicy) -> None:
    execution = old()
    make_policy(keep_output_days=9)
    purge()
    execution.refresh_from_db()
    assert (execution.code, execution.stdout, execution.stderr, execution.result) == ("secret", "", "", None)


def test_purged_text_is_not_found_any_more(old: MakeExecution, make_policy: MakePolicy) -> None:
    execution = old()
    assert newest("secret", Execution.objects.all())[0] == [execution.pk]
    make_policy(keep_code_days=9)
    purge()
    assert newest("secret", Execution.objects.all())[0] == []
    assert newest("out", Execution.objects.all())[0] == [execution.pk]


def test_batch_goes_on_where_the_last_one_ended(
    old: MakeExecution, make_policy: MakePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "BATCH", 1)
    rows = [old(days=20 - i) for i in range(3)]
    make_policy(keep_code_days=9)
    with CaptureQueriesContext(connection) as queries:
        assert [record.last_id for record in purge()] == [row.pk for row in rows]
    walks = [query["sql"] for query in queries if "SKIP LOCKED" in query["sql"]]
    assert f"\"id\" > '{rows[-1].pk.hex}'" in walks[-1]


def test_walk_ends_at_what_is_too_young(old: MakeExecution) -> None:
    old(days=1)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
    due = purging.due_by(timezone.now() - timedelta(days=9), Execution.objects.order_by("id"))
    assert "Index Cond: (id <" in due.explain()


def test_artifacts_go_and_the_rest_stays(old: MakeExecution, make_policy: MakePolicy) -> None:
    execution = old(artifact_count=1)
    make_policy(keep_artifacts_days=9)
    purge()
    assert not execution.artifacts.exists()
    assert Execution.objects.get().code == "secret"


def test_whole_record_goes(old: MakeExecution, make_policy: MakePolicy) -> None:
    old(artifact_count=1)
    make_policy(keep_metadata_days=9)
    purge()
    assert not Execution.objects.exists()
    assert not Artifact.objects.exists()


def test_younger_execution_is_kept(old: MakeExecution, make_policy: MakePolicy) -> None:
    old()
    make_policy(keep_code_days=11, keep_output_days=11, keep_metadata_days=11)
    assert purge() == []


def test_running_execution_is_kept(make_execution: MakeExecution, make_policy: MakePolicy) -> None:
    make_execution(status=Status.RUNNING)
    make_policy(keep_metadata_days=0)
    sealing.seal()
    assert purge() == []


def test_unsealed_execution_is_kept(make_execution: MakeExecution, make_policy: MakePolicy) -> None:
    make_execution()
    make_policy(keep_metadata_days=0)
    assert purge() == []


def test_policy_of_a_client_goes_before_the_default(old: MakeExecution, make_policy: MakePolicy) -> None:
    client, _ = Client.objects.create_with_token("one")
    make_policy(keep_code_days=0)
    make_policy(client, keep_code_days=100)
    own, other = old(client=client), old()
    purge()
    assert [Execution.objects.get(pk=pk).code for pk in (own.pk, other.pk)] == ["secret", ""]


def test_metadata_only_keeps_the_record(old: MakeExecution, make_policy: MakePolicy) -> None:
    old(days=0, artifact_count=1)
    make_policy(keep_code_days=0, keep_output_days=0, keep_artifacts_days=0)
    purge()
    execution = Execution.objects.get()
    assert (execution.code, execution.stdout, execution.artifacts.count()) == ("", "", 0)
    assert execution.code_sha256


def test_caller_has_time_to_fetch_its_answer(
    old: MakeExecution, make_policy: MakePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "GRACE", timedelta(minutes=10))
    old(days=0)
    make_policy(keep_output_days=0)
    assert purge() == []


def test_purge_is_on_record(old: MakeExecution, make_policy: MakePolicy) -> None:
    execution = old()
    make_policy(keep_code_days=9)
    (record,) = purge()
    record.refresh_from_db()
    assert (record.kind, record.count, record.ids, record.keep_days) == (ExecutionPart.CODE, 1, [execution.pk], 9)
    assert record.role == "sandbox"


def test_purge_works_in_batches(
    old: MakeExecution, make_policy: MakePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "BATCH", 2)
    for _ in range(3):
        old()
    make_policy(keep_output_days=0)
    assert [record.count for record in purge()] == [2, 1]


def test_purge_finds_nothing_more_the_second_time(old: MakeExecution, make_policy: MakePolicy) -> None:
    old(artifact_count=1)
    make_policy(keep_code_days=0, keep_output_days=0, keep_artifacts_days=0)
    assert len(purge()) == 3
    assert purge() == []


@pytest.mark.parametrize("kind", ExecutionPart)
def test_lawful_purge_verifies(old: MakeExecution, make_policy: MakePolicy, kind: ExecutionPart) -> None:
    old(days=0, artifact_count=1)
    make_policy(**{f"keep_{kind}_days": 0})
    assert purge()
    assert list(verify()) == []
    sealing.seal()
    assert list(verify()) == []


def test_unlawful_purge_is_found(old: MakeExecution, make_policy: MakePolicy) -> None:
    """Another execution's record does not cover it, though its id is between the record's first and last."""
    client, _ = Client.objects.create_with_token("one")
    executions = [old(days=0), old(days=0, client=client), old(days=0)]
    make_policy(keep_code_days=0)
    make_policy(client)
    purge()
    tamper("UPDATE executions_execution SET code = '' WHERE id = %s", executions[1].pk)
    (finding,) = verify()
    assert finding.row == str(executions[1].pk)


def test_purge_record_deleted_is_found(old: MakeExecution, make_policy: MakePolicy) -> None:
    old(days=0)
    make_policy(keep_metadata_days=0)
    purge()
    sealing.seal()
    tamper("DELETE FROM audit_purgerecord")
    assert {finding.table for finding in verify()} == {"executions_execution", "audit_purgerecord"}


def test_command_purges(old: MakeExecution, make_policy: MakePolicy) -> None:
    old()
    make_policy(keep_metadata_days=0)
    call_command("purge")
    assert not Execution.objects.exists()


def test_change_of_a_policy_is_in_the_trail(make_policy: MakePolicy) -> None:
    from audit.models import RetentionPolicyEvent

    policy = make_policy(keep_code_days=90)
    policy.keep_code_days = 0
    policy.save()
    assert list(RetentionPolicyEvent.objects.order_by("pgh_id").values_list("keep_code_days", flat=True)) == [
        90,
        0,
    ]


def test_requests_go_with_the_record(make_execution: MakeExecution, make_policy: MakePolicy) -> None:
    then = timezone.now() - timedelta(days=10)
    execution = make_execution(queued_at=then, finished_at=then, network="egress")
    EgressRequest.objects.create(
        execution=execution, at=then, method="GET", host="example.com", port=80, allowed=True
    )
    sealing.seal()
    make_policy(keep_metadata_days=9)
    purge()
    assert not EgressRequest.objects.exists()
    assert list(verify()) == []
