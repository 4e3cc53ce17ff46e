import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from audit import purging, sealing
from audit.models import RetentionPolicy, Seal
from audit.sources import BESIDE, SOURCES
from audit.verification import verify
from executions.egress.models import EgressRequest
from executions.models import Execution
from tests.audit.conftest import cut_off, problems, tamper

MakeExecution = Callable[..., Execution]


def test_untouched_history_is_clean(history: list[Execution]) -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ("code = 'print(2)'", "code"),
        ("stdout = '2' || chr(10)", "output"),
        ("stderr = ' '", "output"),
        ("result = 'null'", "output"),
        ("argv = '[1]'", "code"),
        ("exit_code = 0", "metadata"),
        ("finished_at = finished_at + interval '1 microsecond'", "metadata"),
        ("image_id = 'sha256:0'", "metadata"),
        ('environment = \'{"A": "1"}\'', "metadata"),
        ("remote_address = '192.0.2.1'", "metadata"),
    ],
)
def test_flipped_byte_is_found_and_located(history: list[Execution], change: str, part: str) -> None:
    tamper(f"UPDATE executions_execution SET {change} WHERE id = %s", history[1].pk)
    (problem,) = problems()
    assert f"executions_execution {history[1].pk} (seal 2, " in problem
    assert f"changed: {part}" in problem


@pytest.mark.parametrize("change", ["content = '1;3'", "path = 'data/out.csv'"])
def test_changed_input_file_is_found(history: list[Execution], change: str) -> None:
    tamper(f"UPDATE executions_inputfile SET {change}")
    (problem,) = problems()
    assert "changed: code" in problem


def test_deleted_input_file_is_found(history: list[Execution]) -> None:
    tamper("DELETE FROM executions_inputfile")
    (problem,) = problems()
    assert "changed: code" in problem


def test_every_column_of_an_execution_is_covered(history: list[Execution]) -> None:
    columns = Seal.objects.latest("sequence").columns["executions_execution"]
    covered = {name for part, names in columns.items() if part not in BESIDE for name in names}
    assert covered == {field.column for field in Execution._meta.concrete_fields}


@pytest.mark.parametrize("change", ["content = 'PNg'", "name = 'other.png'", "size = 4"])
def test_changed_artifact_is_found(history: list[Execution], change: str) -> None:
    tamper(f"UPDATE executions_artifact SET {change}")
    (problem,) = problems()
    assert "changed: artifacts" in problem


def test_deleted_artifact_is_found(history: list[Execution]) -> None:
    tamper("DELETE FROM executions_artifact")
    assert "changed: artifacts" in problems()[0]


def test_added_artifact_is_found(history: list[Execution]) -> None:
    tamper(
        "INSERT INTO executions_artifact (execution_id, name, content, size) VALUES (%s, 'x', '', 0)",
        history[0].pk,
    )
    assert "changed: artifacts" in problems()[0]


def test_deleted_row_is_found(history: list[Execution]) -> None:
    tamper("DELETE FROM executions_execution WHERE id = %s", history[0].pk)
    (problem,) = problems()
    assert f"{history[0].pk} (seal 1, the beginning to " in problem
    assert "deleted without a purge record" in problem


def test_row_deleted_before_its_seal_is_found(history: list[Execution], make_execution: MakeExecution) -> None:
    execution = make_execution()
    tamper("DELETE FROM executions_execution WHERE id = %s", execution.pk)
    assert problems() == [f"executions_execution {execution.pk}: deleted before it was sealed"]


def test_row_inserted_past_the_triggers_is_found(history: list[Execution], make_execution: MakeExecution) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE executions_execution DISABLE TRIGGER audit_pend_insert")
    execution = make_execution()
    (problem,) = problems()
    assert problem.startswith(f"executions_execution {execution.pk}: neither sealed nor pending")


def test_row_inserted_into_the_past_is_found(history: list[Execution], make_execution: MakeExecution) -> None:
    execution = make_execution(finished_at=timezone.now() - timedelta(days=3))
    sealing.seal()
    (problem,) = problems()
    assert f"{execution.pk} (seal 4, " in problem
    assert "back-dated" in problem


def test_changed_event_is_found(history: list[Execution]) -> None:
    tamper("UPDATE audit_runtimeevent SET image = 'image:9' WHERE image = 'image:1'")
    (problem,) = problems()
    assert problem.startswith("audit_runtimeevent ")
    assert "(seal 2, " in problem


def test_deleted_event_is_found(history: list[Execution]) -> None:
    tamper("DELETE FROM audit_runtimeevent WHERE image = 'image:1'")
    assert "deleted" in problems()[0]


def test_inserted_event_is_found(history: list[Execution]) -> None:
    tamper("CREATE TEMPORARY TABLE copied ON COMMIT DROP AS SELECT * FROM audit_runtimeevent LIMIT 1")
    tamper("UPDATE copied SET pgh_id = 999")
    tamper("INSERT INTO audit_runtimeevent SELECT * FROM copied")
    assert problems()[0].startswith("audit_runtimeevent 999: neither sealed nor pending")


@pytest.mark.parametrize(
    "change", ["count = count + 1", "period_to = now()", "columns = '{}'", "created_at = now()", "root = 'x'"]
)
def test_changed_seal_is_found(history: list[Execution], change: str) -> None:
    tamper(f"UPDATE audit_seal SET {change} WHERE sequence = 2")
    assert any(problem.startswith("audit_seal 2 (seal 2, ") and "changed" in problem for problem in problems())


def test_seal_that_was_made_anew_is_found(history: list[Execution]) -> None:
    """Who changes a seal and computes its hash again has the next one against him."""
    seal = Seal.objects.get(sequence=2)
    seal.period_to += timedelta(seconds=1)
    tamper(
        "UPDATE audit_seal SET period_to = %s, hash = %s WHERE sequence = 2", seal.period_to, seal.computed_hash()
    )
    assert any("audit_seal 3" in problem and "not chained" in problem for problem in problems())


def test_changed_leaf_is_found(history: list[Execution]) -> None:
    """The row and its leaf agree; the seal does not."""
    tamper(
        "UPDATE audit_leaf SET code = sha256('x') WHERE source = 'executions_execution' AND row_id = %s",
        str(history[1].pk),
    )
    found = problems()
    assert any("audit_leaf of seal 2" in problem and "root" in problem for problem in found)


def test_deleted_leaf_is_found(history: list[Execution]) -> None:
    tamper("DELETE FROM audit_leaf WHERE row_id = %s", str(history[1].pk))
    found = problems()
    assert any("leaves where 2 were sealed" in problem for problem in found)
    assert any(f"{history[1].pk}: neither sealed nor pending" in problem for problem in found)


def test_deleted_seal_is_found(history: list[Execution]) -> None:
    tamper("DELETE FROM audit_seal WHERE sequence = 2")
    found = problems()
    assert any("audit_seal 2" in problem and "missing" in problem for problem in found)
    assert any("audit_leaf of seal 2" in problem for problem in found)


def test_end_cut_off_is_found_with_a_head_noted_elsewhere(history: list[Execution]) -> None:
    head = Seal.objects.get(sequence=3)
    cut_off(3)
    assert "missing" in str(next(verify(head=(3, head.hash))))


def test_head_noted_elsewhere_agrees(history: list[Execution]) -> None:
    head = Seal.objects.get(sequence=2)
    assert list(verify(head=(2, head.hash))) == []


def test_purged_record_put_back_is_found(history: list[Execution]) -> None:
    RetentionPolicy.objects.create(keep_metadata_days=0)
    tamper("CREATE TEMPORARY TABLE copied ON COMMIT DROP AS SELECT * FROM executions_execution LIMIT 1")
    list(purging.purge())
    tamper("INSERT INTO executions_execution SELECT * FROM copied")
    assert any("although it was purged" in problem for problem in problems())


def test_purged_part_filled_again_is_found(history: list[Execution]) -> None:
    RetentionPolicy.objects.create(keep_code_days=0)
    list(purging.purge())
    tamper("UPDATE executions_execution SET code = 'forged' WHERE id = %s", history[0].pk)
    assert any("changed after its purge: code" in problem for problem in problems())


def test_command_succeeds_on_a_clean_history(history: list[Execution]) -> None:
    out = StringIO()
    call_command("verify_audit", stdout=out)
    assert f"Last: 3:{Seal.objects.get(sequence=3).hash}" in out.getvalue()


def test_command_exits_with_1_on_a_finding(history: list[Execution]) -> None:
    tamper("UPDATE executions_execution SET exit_code = 9 WHERE id = %s", history[0].pk)
    out = StringIO()
    with pytest.raises(SystemExit) as end:
        call_command("verify_audit", stdout=out)
    assert end.value.code == 1
    assert str(history[0].pk) in out.getvalue()


def test_command_refuses_a_malformed_head(db: None) -> None:
    with pytest.raises(CommandError, match="NUMBER:HASH"):
        call_command("verify_audit", head="3")


def test_verification_does_not_depend_on_the_session(history: list[Execution]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TimeZone TO 'Asia/Tokyo'")
        cursor.execute("SET LOCAL bytea_output TO 'escape'; SET LOCAL extra_float_digits TO 0")
    assert problems() == []


def test_seal_that_names_no_columns_cannot_inject_sql(history: list[Execution]) -> None:
    seal = Seal.objects.get(sequence=3)
    seal.columns["executions_execution"]["metadata"] = ['id" ; DROP TABLE executions_artifact; --']
    columns = json.dumps(seal.columns)
    tamper("UPDATE audit_seal SET columns = %s, hash = %s WHERE sequence = 3", columns, seal.computed_hash())
    assert any("cannot be verified: the columns" in problem for problem in problems())


# --- Requests of programs ---


@pytest.fixture
def called_out(make_execution: MakeExecution) -> Execution:
    execution = make_execution(network="egress")
    EgressRequest.objects.create(
        execution=execution, at=timezone.now(), method="GET", host="example.com", port=80, allowed=True
    )
    sealing.seal()
    assert problems() == []
    return execution


@pytest.mark.parametrize("change", [
    "UPDATE executions_egressrequest SET host = 'other.com'", "DELETE FROM executions_egressrequest",
    "UPDATE executions_execution SET network = 'none'",
])  # fmt: skip
def test_changed_request_is_found(called_out: Execution, change: str) -> None:
    tamper(change)
    (problem,) = problems()
    assert f"{called_out.pk}" in problem
    assert "changed: metadata" in problem


def test_seal_of_before_there_were_requests_verifies(
    make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_execution()
    columns = {table: dict(of) for table, of in ((s.table, s.columns()) for s in SOURCES)}
    del columns["executions_execution"]["requests"]
    with monkeypatch.context() as patch:
        patch.setattr(type(SOURCES[0]), "columns", lambda self: columns[self.table])
        sealing.seal()
    assert "requests" not in Seal.objects.get().columns["executions_execution"]
    assert problems() == []
