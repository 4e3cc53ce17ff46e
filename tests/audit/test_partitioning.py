"""How a history becomes one that is partitioned by month."""

from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
from django.apps import apps
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from audit import partitions
from audit.partitions import next_month
from executions.models import Execution, Status
from executions.models.ids import first_id
from executions.parts import is_partitioned
from sandbox_platform.kit.locks import Lock
from tests.audit.conftest import execute
from tests.audit.test_partitions import AGO, part_of, value

MakeExecution = Callable[..., Execution]
# Tables of before there were partitions. The conversion replaces their foreign keys.
WITH_FOREIGN_KEY = {
    "callbacks.Delivery", "egress.EgressRequest", "executions.Artifact", "executions.InputFile", "failures.FailureRun"
}  # fmt: skip
HAS_BOUNDARY = "SELECT count(*) FROM pg_constraint WHERE conname = %s"


def test_a_history_without_partitions_stays_as_it_is(db: None) -> None:
    assert not is_partitioned()
    assert partitions.make_ahead() == 0
    assert list(partitions.drop_due()) == []


def test_executions_of_before_stay_and_new_ones_go_into_their_month(make_execution: MakeExecution) -> None:
    before = make_execution(code="of before", queued_at=timezone.now() - AGO)
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    partitions.convert(lambda step: None)
    month = make_execution(id=first_id(next_month(next_month(timezone.now())) + timedelta(days=9)))
    strange = make_execution(id=first_id(timezone.now() + timedelta(days=4000)))
    assert part_of(before) == "executions_execution_before"
    assert part_of(month).startswith("executions_execution_y")
    assert part_of(strange) == "executions_execution_other"
    assert list(Execution.objects.order_by("pk").values_list("pk", flat=True)) == [before.pk, month.pk, strange.pk]


def test_an_id_of_the_future_is_a_refusal_that_leaves_no_trace(make_execution: MakeExecution) -> None:
    strange = make_execution(id=first_id(timezone.now() + timedelta(days=4000)))
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    with pytest.raises(partitions.NotPartitioned, match="clock was wrong"):
        partitions.convert(lambda step: None)
    assert not is_partitioned()
    Execution.objects.filter(pk=strange.pk, status=Status.QUEUED).delete()
    make_execution(id=first_id(timezone.now() + timedelta(days=4001)))  # no constraint is left


def test_rights_stay(db: None) -> None:
    execute("CREATE ROLE months_reader")
    execute("GRANT INSERT ON executions_execution TO months_reader")
    execute("GRANT SELECT (id, status) ON executions_execution TO months_reader")
    partitions.convert(lambda step: None)
    assert value("SELECT has_table_privilege('months_reader', 'executions_execution', 'INSERT')")
    assert value("SELECT has_column_privilege('months_reader', 'executions_execution', 'status', 'SELECT')")
    assert not value("SELECT has_column_privilege('months_reader', 'executions_execution', 'code', 'SELECT')")
    for privilege in ("INSERT", "SELECT"):
        assert not value(
            "SELECT has_any_column_privilege('months_reader', 'executions_execution_before', %s)", privilege
        )


def test_the_functions_hold_the_locks_number(db: None) -> None:
    assert str(Lock.PARTITIONS.value) in value("SELECT pg_get_functiondef('history_ahead'::regproc)")


def test_what_fails_leaves_no_boundary(db: None) -> None:
    """From the boundary on, no execution could be stored."""
    execute("CREATE UNIQUE INDEX of_this_test ON executions_execution (client_id, id)")
    with pytest.raises(DatabaseError, match="unique index"):
        partitions.convert(lambda step: None)
    assert value(HAS_BOUNDARY, partitions.BOUNDARY) == 0


def test_the_boundary_of_a_conversion_that_was_killed_is_removed(db: None) -> None:
    execute(
        f"ALTER TABLE executions_execution ADD CONSTRAINT {partitions.BOUNDARY} CHECK (id IS NOT NULL) NOT VALID"
    )
    assert partitions.make_ahead() == 0
    assert value(HAS_BOUNDARY, partitions.BOUNDARY) == 0


def test_a_conversion_that_was_interrupted_is_finished(make_execution: MakeExecution) -> None:
    make_execution(idempotency_key="k")
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute("SELECT history_keep_keys()")
    execute(f"CREATE INDEX {partitions.MAKE_KEY_INDEX}")
    execute(
        f"ALTER TABLE executions_execution ADD CONSTRAINT {partitions.BOUNDARY} CHECK (id IS NOT NULL) NOT VALID"
    )
    partitions.convert(lambda step: None)
    assert is_partitioned()
    with pytest.raises(IntegrityError), transaction.atomic():
        make_execution(idempotency_key="k")


def test_what_names_an_execution_has_the_trigger_instead_of_a_foreign_key(db: None) -> None:
    """A foreign key of a later migration would keep each month of a partitioned history from being dropped."""
    fields = [relation.field for relation in Execution._meta.related_objects]
    assert {field.model._meta.label for field in fields if field.db_constraint} <= WITH_FOREIGN_KEY
    sql = "SELECT count(*) FROM pg_trigger WHERE tgrelid = %s::regclass AND tgname = 'history_execution_exists'"
    assert all(field.db_constraint or value(sql, field.model._meta.db_table) for field in fields)


def test_a_drop_knows_all_that_belongs_to_what_it_deletes(db: None) -> None:
    beside = {relation.related_model._meta.label for relation in Execution._meta.related_objects}
    further = {
        relation.related_model._meta.label
        for label in beside
        for relation in apps.get_model(label)._meta.related_objects
    }
    assert further == {"callbacks.DeliveryAttempt"}


def test_only_one_process_partitions(db: None, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [Lock.PARTITIONS])
        with pytest.raises(partitions.NotPartitioned, match="another process"):
            partitions.convert(lambda step: None)
