"""A purge record is believed only if the sealed policies justify it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit import purging, sealing
from audit.models import ExecutionPart, Leaf, PurgeRecord, RetentionPolicy
from audit.sources import EXECUTIONS, FACTS
from clients.models import Client
from executions.models import Execution
from tests.audit.conftest import problems, recompute_chain, tamper

MakeExecution = Callable[..., Execution]
MakePolicy = Callable[..., RetentionPolicy]
PURGES = {
    ExecutionPart.CODE: "UPDATE executions_execution SET code = '', arguments = '{}', stdin = '', argv = '[]',"
    " variables = '{}' WHERE id = %s",
    ExecutionPart.OUTPUT: "UPDATE executions_execution SET stdout = '', stderr = '', result = NULL WHERE id = %s",
    ExecutionPart.METADATA: "DELETE FROM executions_execution WHERE id = %s",
}


@pytest.fixture
def old(make_execution: MakeExecution) -> MakeExecution:
    """Makes a sealed execution of ten days ago."""

    def make(days: int = 10, **overrides: Any) -> Execution:
        then = timezone.now() - timedelta(days=days)
        execution = make_execution(queued_at=then, finished_at=then, stdout="out", **overrides)
        sealing.seal()
        return execution

    return make


def launder(execution: Execution, kind: ExecutionPart, **overrides: Any) -> PurgeRecord:
    """Remove a part of a row, or the row, and write the purge record that a purge would have written."""
    now = timezone.now()
    tamper(PURGES[kind], execution.pk)
    return PurgeRecord.objects.create(**{
        "kind": kind, "policy": "policy of all other clients", "keep_days": 1, "cutoff": now - timedelta(days=1),
        "count": 1, "first_id": execution.pk, "last_id": execution.pk, "ids": [execution.pk], "created_at": now,
    } | overrides)  # fmt: skip


def move(policy: RetentionPolicy, at: datetime, number: int = 0) -> None:
    """Date a change of the policy, as all of a test's changes have the time of its one transaction."""
    tamper(
        "UPDATE audit_retentionpolicyevent SET pgh_created_at = %s WHERE pgh_id = (SELECT pgh_id FROM"
        " audit_retentionpolicyevent WHERE pgh_obj_id = %s ORDER BY pgh_id OFFSET %s LIMIT 1)",
        at, policy.pk, number,
    )  # fmt: skip


def about_purges() -> list[str]:
    return [problem for problem in problems() if problem.startswith("audit_purgerecord")]


@pytest.mark.parametrize("kind", PURGES)
@pytest.mark.parametrize("sealed", [False, True])
def test_a_made_up_record_launders_no_deletion(old: MakeExecution, kind: ExecutionPart, sealed: bool) -> None:
    execution = old()
    record = launder(execution, kind)
    if sealed:
        sealing.seal()
    (problem,) = problems()
    assert problem.startswith(
        f"audit_purgerecord {record.pk}: does not justify the purge of execution {execution.pk}"
    )
    assert "no policy in force for its client" in problem


@pytest.mark.parametrize("kind", PURGES)
def test_a_record_for_a_row_that_is_too_young_is_found(
    old: MakeExecution, make_policy: MakePolicy, kind: ExecutionPart
) -> None:
    make_policy(keep_code_days=30, keep_output_days=30, keep_metadata_days=30)
    launder(old(), kind)
    (problem,) = problems()
    assert "for 30 days, and it had ended 10 days before" in problem


def test_a_record_of_another_kind_is_found(old: MakeExecution, make_policy: MakePolicy) -> None:
    make_policy(keep_code_days=1, keep_output_days=1)
    launder(old(), ExecutionPart.METADATA)
    (problem,) = problems()
    assert "removed the whole record" in problem


def test_the_policy_of_another_client_justifies_nothing(old: MakeExecution, make_policy: MakePolicy) -> None:
    one, _ = Client.objects.create_with_token("one")
    other, _ = Client.objects.create_with_token("other")
    make_policy(other, keep_metadata_days=1)
    launder(old(client=one), ExecutionPart.METADATA)
    assert "no policy in force for its client" in problems()[0]


def test_the_default_justifies_nothing_for_a_client_with_its_own_policy(
    old: MakeExecution, make_policy: MakePolicy
) -> None:
    client, _ = Client.objects.create_with_token("one")
    own = make_policy(client)
    make_policy(keep_metadata_days=1)
    move(own, timezone.now() - timedelta(minutes=10))
    launder(old(client=client), ExecutionPart.METADATA)
    assert "no policy in force for its client" in about_purges()[0]


def test_a_record_names_how_many_it_does_not_justify(old: MakeExecution) -> None:
    first, second = old(), old()
    tamper(PURGES[ExecutionPart.METADATA], second.pk)
    launder(first, ExecutionPart.METADATA, ids=[first.pk, second.pk])
    (problem,) = problems()
    assert f"{first.pk} and 1 more: " in problem


def test_a_record_of_what_was_never_sealed_is_found(
    make_execution: MakeExecution, make_policy: MakePolicy
) -> None:
    make_policy(keep_metadata_days=0)
    execution = make_execution()
    tamper("DELETE FROM audit_pending WHERE row_id = %s", str(execution.pk))
    launder(execution, ExecutionPart.METADATA)
    (problem,) = problems()
    assert "no seal covers it" in problem


def test_a_record_dated_back_is_found_before_it_is_sealed(old: MakeExecution) -> None:
    """To the time of a policy that has been changed since."""
    launder(old(), ExecutionPart.METADATA, created_at=timezone.now() - timedelta(days=3))
    assert any("back-dated" in problem for problem in about_purges())


# --- A policy that changes later ---


def test_a_purge_stays_justified_when_its_policy_changes(old: MakeExecution, make_policy: MakePolicy) -> None:
    execution = old()
    policy = make_policy(keep_metadata_days=9)
    move(policy, timezone.now() - timedelta(minutes=40))
    list(purging.purge())
    policy.keep_metadata_days = 100
    policy.save()
    move(policy, timezone.now() + timedelta(minutes=30), 1)
    sealing.seal()
    assert not Execution.objects.filter(pk=execution.pk).exists()
    assert about_purges() == []


def test_a_purge_stays_justified_when_its_policy_is_deleted(old: MakeExecution, make_policy: MakePolicy) -> None:
    old()
    policy = make_policy(keep_metadata_days=9)
    move(policy, timezone.now() - timedelta(minutes=40))
    list(purging.purge())
    pk = policy.pk
    policy.delete()
    policy.pk = pk
    move(policy, timezone.now() + timedelta(minutes=30), 1)
    assert about_purges() == []


def test_a_policy_of_later_justifies_no_earlier_purge(old: MakeExecution, make_policy: MakePolicy) -> None:
    launder(old(), ExecutionPart.METADATA)
    move(make_policy(keep_metadata_days=1), timezone.now() + timedelta(minutes=30))
    assert "no policy in force for its client" in about_purges()[0]


def test_a_policy_of_before_justifies_no_later_purge(old: MakeExecution, make_policy: MakePolicy) -> None:
    policy = make_policy(keep_metadata_days=1)
    move(policy, timezone.now() - timedelta(minutes=50))
    policy.keep_metadata_days = 365
    policy.save()
    move(policy, timezone.now() - timedelta(minutes=30), 1)
    launder(old(), ExecutionPart.METADATA)
    assert "for 365 days" in about_purges()[0]


def test_a_policy_that_is_in_the_table_only_justifies_nothing(old: MakeExecution) -> None:
    """Written past the triggers, so that the trail does not tell of it."""
    tamper("INSERT INTO audit_retentionpolicy (keep_metadata_days, redact) VALUES (1, false)")
    launder(old(), ExecutionPart.METADATA)
    assert "no policy in force for its client" in problems()[0]


# --- What leaves keep ---


def test_a_leaf_keeps_whose_the_execution_was_and_when_it_ended(old: MakeExecution) -> None:
    client, _ = Client.objects.create_with_token("one")
    execution = old(client=client)
    leaf = Leaf.objects.get(row_id=str(execution.pk))
    assert (leaf.client, leaf.ended_at) == (client.pk, execution.finished_at)


@pytest.mark.parametrize("change", ["client = 7", "ended_at = ended_at - interval '30 days'"])
def test_a_leaf_that_tells_another_client_or_time_is_found(old: MakeExecution, change: str) -> None:
    execution = old()
    tamper(f"UPDATE audit_leaf SET {change} WHERE row_id = %s", str(execution.pk))
    (problem,) = problems()
    assert "audit_leaf of seal 1" in problem


@pytest.fixture
def old_leaves(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the seals what they were before leaves kept these."""

    def strip() -> None:
        tamper("UPDATE audit_leaf SET client = NULL, ended_at = NULL")
        tamper("UPDATE audit_seal SET columns = columns #- %s", f"{{{EXECUTIONS.table},{FACTS}}}")
        tamper("UPDATE audit_seal SET key = '', signature = NULL, statement = NULL")
        tamper("DELETE FROM audit_sealkey")
        recompute_chain()

    return strip


def findings_of_old_leaves() -> list[str]:
    return [problem for problem in problems() if "no seal up to this one is signed" not in problem]


@pytest.mark.parametrize("kind", PURGES)
def test_a_purge_of_an_old_leaf_verifies(
    old: MakeExecution, make_policy: MakePolicy, old_leaves: Callable[[], None], kind: ExecutionPart
) -> None:
    execution = old(input_count=1)
    old_leaves()
    make_policy(**{f"keep_{kind}_days": 9})
    assert [record.ids for record in purging.purge()] == [[execution.pk]]
    assert findings_of_old_leaves() == []


def test_a_purge_of_an_old_leaf_is_found_by_the_age_that_the_id_tells(
    old: MakeExecution, make_policy: MakePolicy, old_leaves: Callable[[], None]
) -> None:
    make_policy(keep_metadata_days=30)
    execution = old()
    old_leaves()
    launder(execution, ExecutionPart.METADATA)
    assert "for 30 days, and it had ended 10 days before" in findings_of_old_leaves()[0]
