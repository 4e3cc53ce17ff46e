from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from audit import sealing
from audit.models import ExecutionPart, Leaf, Pending, PurgeRecord, RetentionPolicy, RuntimeEvent, Seal
from executions.egress.models import EgressRequest
from executions.models import Artifact, Execution, Status
from runtimes.models import Runtime
from tests.audit.conftest import execute

MakeExecution = Callable[..., Execution]
HISTORY = (
    "executions_execution",
    "executions_artifact",
    "executions_inputfile",
    "audit_seal",
    "audit_leaf",
    "audit_sealkey",
    "audit_pending",
    "audit_purgerecord",
    "audit_runtimebuildevent",
    "audit_runtimeevent",
    "audit_seccompprofileevent",
    "audit_seccomprevisionevent",
    "audit_seccompactivationevent",
    "audit_clientevent",
    "audit_tokenevent",
    "audit_retentionpolicyevent",
    "audit_redactionpatternevent",
    "runtimes_runtime",
    "runtimes_runtimebuild",
    "executions_client",
    "executions_egressrule",
    "executions_egressrequest",
    "audit_egressruleevent",
    "seccomp_profiles_seccomprevision",
    "seccomp_profiles_seccompactivation",
)


def refused(sql: str, *params: Any, match: str = "Cannot") -> None:
    with pytest.raises(DatabaseError, match=match), transaction.atomic():
        execute(sql, *params)


@pytest.mark.parametrize("table", HISTORY)
def test_history_is_never_truncated(db: None, table: str) -> None:
    # The test session has these triggers off, for its own cleaning up.
    execute(f"ALTER TABLE {table} ENABLE TRIGGER audit_no_truncate")
    refused(f"TRUNCATE {table} CASCADE", match="Cannot truncate")


@pytest.mark.parametrize("statement", ["UPDATE {} SET pgh_label = 'x'", "DELETE FROM {}"])
def test_event_is_final(python_runtime: Runtime, statement: str) -> None:
    assert RuntimeEvent.objects.exists()
    refused(statement.format("audit_runtimeevent"))


def test_event_cannot_be_made_up(python_runtime: Runtime) -> None:
    execute("CREATE TEMPORARY TABLE made_up ON COMMIT DROP AS SELECT * FROM audit_runtimeevent LIMIT 1")
    execute("UPDATE made_up SET pgh_id = 999, image = 'never'")
    refused("INSERT INTO audit_runtimeevent SELECT * FROM made_up", match="only triggers")


@pytest.mark.parametrize("table", ["audit_seal", "audit_leaf", "audit_sealkey"])
def test_seal_and_leaves_are_never_deleted(make_execution: MakeExecution, table: str) -> None:
    make_execution()
    sealing.seal()
    refused(f"DELETE FROM {table}")


@pytest.mark.parametrize(
    "change", ["audit_seal SET hash = ''", "audit_leaf SET metadata = ''", "audit_sealkey SET previous = 'x'"]
)
def test_seal_and_leaves_never_change(make_execution: MakeExecution, change: str) -> None:
    make_execution()
    sealing.seal()
    refused(f"UPDATE {change}")


def test_pending_row_stays_until_sealed(make_execution: MakeExecution) -> None:
    make_execution()
    refused("DELETE FROM audit_pending", match="not sealed yet")


def test_execution_pends_when_it_ends(make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.RUNNING)
    waiting = Pending.objects.filter(row_id=str(execution.pk))
    assert not waiting.exists()
    Execution.objects.update(status=Status.FAILED, outcome="nonzero_exit", finished_at=timezone.now())
    assert waiting.count() == 1


def test_artifact_of_sealed_execution_cannot_be_added(make_execution: MakeExecution) -> None:
    execution = make_execution()
    sealing.seal()
    with pytest.raises(DatabaseError, match="is sealed"), transaction.atomic():
        Artifact.objects.create(execution=execution, name="late.png", content=b"", size=0)


# --- The purge's exception ---


@pytest.fixture
def sealed(make_execution: MakeExecution, python_runtime: Runtime) -> Execution:
    now = timezone.now() - timedelta(days=10)
    execution = make_execution(queued_at=now, finished_at=now, code="secret", stdout="out")
    sealing.seal()
    return execution


def record_of(execution: Execution, kind: ExecutionPart) -> PurgeRecord:
    now = timezone.now()
    return PurgeRecord.objects.create(
        kind=kind, policy="p", keep_days=1, cutoff=now, count=1, created_at=now,
        first_id=execution.pk, last_id=execution.pk, ids=[execution.pk],
    )  # fmt: skip


BLANK_CODE = """
    UPDATE executions_execution SET code = '', arguments = '{}', stdin = '', argv = '[]'
"""


def test_purge_with_record_and_policy_is_let_through(sealed: Execution) -> None:
    RetentionPolicy.objects.create(keep_code_days=1)
    record_of(sealed, ExecutionPart.CODE)
    assert execute(BLANK_CODE) == 1


def test_purge_without_record_is_refused(sealed: Execution) -> None:
    RetentionPolicy.objects.create(keep_code_days=1)
    refused(BLANK_CODE, match="is final")


def test_purge_without_policy_is_refused(sealed: Execution) -> None:
    record_of(sealed, ExecutionPart.CODE)
    refused(BLANK_CODE, match="is final")


def test_purge_before_its_time_is_refused(sealed: Execution) -> None:
    RetentionPolicy.objects.create(keep_code_days=11)
    record_of(sealed, ExecutionPart.CODE)
    refused(BLANK_CODE, match="is final")


def test_purge_of_another_kind_is_refused(sealed: Execution) -> None:
    RetentionPolicy.objects.create(keep_code_days=1, keep_output_days=1)
    record_of(sealed, ExecutionPart.OUTPUT)
    refused(BLANK_CODE, match="is final")


def test_purge_that_changes_more_is_refused(sealed: Execution) -> None:
    RetentionPolicy.objects.create(keep_code_days=1)
    record_of(sealed, ExecutionPart.CODE)
    refused(BLANK_CODE + ", exit_code = 0", match="is final")


def test_purge_that_puts_something_else_is_refused(sealed: Execution) -> None:
    RetentionPolicy.objects.create(keep_code_days=1)
    record_of(sealed, ExecutionPart.CODE)
    refused("UPDATE executions_execution SET code = 'print(1)'", match="is final")


def test_purge_of_an_unsealed_execution_is_refused(make_execution: MakeExecution) -> None:
    RetentionPolicy.objects.create(keep_code_days=0)
    record_of(make_execution(code="secret"), ExecutionPart.CODE)
    refused(BLANK_CODE, match="is final")


def test_purge_by_a_record_in_a_temporary_table_is_refused(sealed: Execution) -> None:
    RetentionPolicy.objects.create(keep_code_days=1)
    execute("CREATE TEMPORARY TABLE audit_purgerecord (LIKE audit_purgerecord INCLUDING ALL) ON COMMIT DROP")
    execute(
        "INSERT INTO pg_temp.audit_purgerecord"
        " (id, kind, policy, keep_days, cutoff, count, first_id, last_id, ids, created_at)"
        " SELECT 1, 'code', 'p', 1, now(), 1, %s, %s, ARRAY[%s], now()",
        *[sealed.pk] * 3,
    )
    refused(BLANK_CODE, match="is final")


@pytest.mark.django_db(transaction=True)
def test_record_of_an_earlier_transaction_allows_nothing(sealed: Execution) -> None:
    RetentionPolicy.objects.create(keep_code_days=1)
    record_of(sealed, ExecutionPart.CODE)
    refused(BLANK_CODE, match="is final")


def test_seal_survives_nothing_being_there(db: None) -> None:
    sealing.seal()
    assert (Seal.objects.count(), Leaf.objects.count()) == (1, 0)


# --- Requests of programs ---


@pytest.fixture
def request_row(make_execution: MakeExecution) -> EgressRequest:
    """Under way."""
    execution = make_execution(status=Status.RUNNING, network="egress")
    return EgressRequest.objects.create(
        execution=execution, at=timezone.now(), method="GET", host="example.com", port=80, allowed=True
    )


def test_request_is_completed_once(request_row: EgressRequest) -> None:
    end = "UPDATE executions_egressrequest SET ended_at = now(), status = 200"
    assert execute(end) == 1
    refused(end)


@pytest.mark.parametrize("change", ["host = 'other.com'", "port = 443", "method = 'PUT'", "at = now()"])
def test_request_keeps_what_was_asked(request_row: EgressRequest, change: str) -> None:
    refused(f"UPDATE executions_egressrequest SET {change}")


def test_refused_request_is_never_an_allowed_one(request_row: EgressRequest) -> None:
    execute("UPDATE executions_egressrequest SET allowed = false, reason = 'address'")
    refused("UPDATE executions_egressrequest SET allowed = true, reason = ''")


def test_request_is_not_deleted(request_row: EgressRequest) -> None:
    refused("DELETE FROM executions_egressrequest")


def test_request_of_a_sealed_execution_is_neither_completed_nor_added(request_row: EgressRequest) -> None:
    execute("UPDATE executions_execution SET status = 'succeeded', outcome = 'completed', finished_at = now()")
    sealing.seal()
    refused("UPDATE executions_egressrequest SET ended_at = now()")
    refused(
        "INSERT INTO executions_egressrequest (execution_id, at, method, host, port, allowed, reason)"
        " SELECT execution_id, at, method, host, port, allowed, reason FROM executions_egressrequest"
    )
