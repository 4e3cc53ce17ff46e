"""A history that is partitioned by month, and what it must have in common with one that is not."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from audit import partitions, purging, sealing
from audit.models import Pending, PurgeRecord, RetentionPolicy
from audit.partitions import begin_of_month, next_month
from audit.verification import verify
from clients.models import Client, ClientStorage
from executions import storage
from executions.models import Artifact, Execution, Rollup, Status
from executions.models.execution import IDEMPOTENCY_CONSTRAINT
from executions.models.ids import first_id
from executions.parts import history_parts
from executions.searching import BLOCK_BITS, AllClients, Search, extent
from tests.audit.conftest import execute
from usage.models import Counted

MakeExecution = Callable[..., Execution]
MakePolicy = Callable[..., RetentionPolicy]
# Longer than two months, so that there is a whole one between the conversion and now.
AGO = timedelta(days=100)


def value(sql: str, *parameters: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()[0]


@pytest.fixture(scope="module")
def partitioned(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A history that was partitioned some months ago. The tests' transactions are savepoints of this one."""
    with django_db_blocker.unblock(), transaction.atomic():
        partitions.convert(lambda step: None, at=timezone.now() - AGO)
        yield
        transaction.set_rollback(True)


@pytest.fixture
def months(partitioned: None, db: None) -> list[str]:
    """The names of its partitions."""
    return [part.name for part in history_parts()]


@pytest.fixture
def old(months: list[str], make_execution: MakeExecution) -> MakeExecution:
    """Makes a sealed execution of the first whole month after the conversion. Everything up to now is counted."""
    at = next_month(timezone.now() - AGO + partitions.TO_SPARE) + timedelta(days=9)
    Counted.objects.create(up_to=timezone.now())
    Rollup.objects.update_or_create(id=1, defaults={"up_to": timezone.now()})

    def make(at: datetime = at, *, seal: bool = True, **overrides: Any) -> Execution:
        execution = make_execution(**{"queued_at": at, "finished_at": at} | overrides)
        if overrides.get("artifact_count"):
            Artifact.objects.create(execution=execution, name="a", content=b"x", size=1)
        if seal:
            sealing.seal()
        return execution

    return make


def part_of(execution: Execution) -> str:
    return str(value("SELECT tableoid::regclass::text FROM executions_execution WHERE id = %s", execution.pk))


def purge() -> list[PurgeRecord]:
    # A table with deferred checks cannot be dropped. Outside of tests there are none: the rows were committed long ago.
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    return list(purging.purge())


def test_there_is_a_partition_of_each_month_and_of_three_to_come(months: list[str]) -> None:
    begin = next_month(timezone.now() - AGO + partitions.TO_SPARE)
    wanted = []
    last = begin_of_month(timezone.now())
    for _ in range(3):
        last = next_month(last)
    while begin <= last:
        wanted.append(f"executions_execution_y{begin:%Y}m{begin:%m}")
        begin = next_month(begin)
    assert months == ["executions_execution_before", *wanted, "executions_execution_other"]
    assert partitions.make_ahead() == 0


def test_it_is_partitioned_once(months: list[str]) -> None:
    with pytest.raises(partitions.NotPartitioned, match="already"):
        partitions.convert(lambda step: None)


def test_keys_are_used_once_in_all_months(months: list[str], old: MakeExecution) -> None:
    client, _ = Client.objects.create_with_token("one")
    old(client=client, idempotency_key="k")
    old(client=None, idempotency_key="k")
    for again in (client, None):
        with pytest.raises(IntegrityError) as refused, transaction.atomic():
            old(at=timezone.now(), client=again, idempotency_key="k")
        assert refused.value.__cause__.diag.constraint_name == IDEMPOTENCY_CONSTRAINT  # type: ignore[union-attr]


def test_a_key_is_found_by_an_index_of_each_month(months: list[str]) -> None:
    sql = "SELECT count(DISTINCT tablename) FROM pg_indexes WHERE indexdef LIKE %s AND tablename = ANY(%s)"
    assert value(sql, "CREATE INDEX %(client_id, idempotency_key)%", months) == len(months)


def test_a_search_finds_what_is_in_any_month_and_in_none(
    months: list[str], old: MakeExecution, make_execution: MakeExecution
) -> None:
    now = timezone.now()
    executions = [
        make_execution(code="apple", id=first_id(now + timedelta(days=400))),
        make_execution(code="apple"),
        old(code="apple"),
        make_execution(code="apple", queued_at=now - AGO * 2),
    ]
    whole = extent(Execution.objects.all())
    assert whole
    windows = Search("apple", AllClients).windows(oldest=whole[0], newest=whole[1])
    assert [pk for window in windows for pk in window.ids] == [execution.pk for execution in executions]


def test_a_search_of_a_time_reads_the_index_of_its_month_alone(months: list[str], old: MakeExecution) -> None:
    execution = old(code="apple")
    block = execution.pk.int >> BLOCK_BITS
    plan = Search("apple", AllClients).matching(block - 5, block + 5).explain()
    assert [month for month in months if month in plan] == [part_of(execution)]


def test_final_rows_of_a_month_do_not_change(months: list[str], old: MakeExecution) -> None:
    execution = old()
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    for sql in (
        "UPDATE executions_execution SET stdout = 'other'",
        "DELETE FROM executions_execution",
        f"TRUNCATE {part_of(execution)}",
        "TRUNCATE executions_execution",
    ):
        with pytest.raises(DatabaseError, match="Cannot"), transaction.atomic():
            execute(sql)


def test_rows_of_a_month_are_sealed_and_verify(months: list[str], make_execution: MakeExecution) -> None:
    execution = make_execution()
    assert Pending.objects.get(row_id=str(execution.pk)).source == "executions_execution"
    sealing.seal()
    assert list(verify()) == []


def test_each_partition_has_the_indexes_of_the_others(months: list[str]) -> None:
    """The first partition, too: what the conversion did not recognise would have been made again, under its lock."""
    sql = "SELECT count(*) FROM pg_indexes WHERE tablename = %s"
    numbers = {part: value(sql, part) for part in ["executions_execution", *months]}
    assert len(set(numbers.values())) == 1, numbers


def test_what_belongs_to_no_execution_is_refused(months: list[str]) -> None:
    with pytest.raises(IntegrityError, match="there is no execution"), transaction.atomic():
        Artifact.objects.create(execution_id=first_id(timezone.now()), name="a", content=b"x", size=1)


def test_no_table_keeps_a_month_by_a_foreign_key(months: list[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'history_execution_exists'")
        guarded = {table for (table,) in cursor.fetchall()}
    assert guarded == {relation.related_model._meta.db_table for relation in Execution._meta.related_objects}
    sql = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND confrelid = 'executions_execution'::regclass"
    assert value(sql) == 0


def test_an_execution_of_a_later_month_is_moved_when_that_is_made(
    months: list[str], make_execution: MakeExecution
) -> None:
    execution = make_execution(id=first_id(timezone.now() + timedelta(days=40)), stdout="as it was")
    sealing.seal()
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    month = part_of(execution)
    # As if its month had not been made yet.
    execute("SET session_replication_role = replica")
    execute(f"CREATE TEMPORARY TABLE kept AS SELECT * FROM {month} WHERE id = %s", execution.pk)
    after = [part for part in months if part.startswith("executions_execution_y") and part >= month]
    for part in after:
        execute(f"DROP TABLE {part}")
    columns = ", ".join(f'"{field.column}"' for field in Execution._meta.concrete_fields if not field.generated)
    execute(f"INSERT INTO executions_execution ({columns}) SELECT {columns} FROM kept")
    execute("SET session_replication_role = origin")
    assert part_of(execution) == "executions_execution_other"
    assert partitions.make_ahead() == len(after)
    assert part_of(execution) == month
    assert list(verify()) == []
    assert value("SELECT count(*) FROM pg_trigger WHERE tgenabled <> 'O' AND NOT tgisinternal") == 0


def test_a_month_that_is_due_is_dropped(old: MakeExecution, make_policy: MakePolicy) -> None:
    client, _ = Client.objects.create_with_token("one")
    gone = [old(client=client, artifact_count=1), old(client=client, stdout="x" * 500), old()]
    stays = old(at=timezone.now(), client=client)
    month = part_of(gone[0])
    of_others, own = make_policy(keep_metadata_days=1), make_policy(client, keep_metadata_days=2)
    records = purge()
    assert [(record.policy, record.keep_days, record.ids) for record in records] == [
        (str(of_others), 1, [gone[2].pk]),
        (str(own), 2, sorted(row.pk for row in gone[:2])),
    ]
    assert month not in [part.name for part in history_parts()]
    assert list(Execution.objects.values_list("pk", flat=True)) == [stays.pk]
    assert not Artifact.objects.exists()
    sealing.seal()
    assert list(verify()) == []


def test_what_a_dropped_month_held_is_no_longer_counted_as_stored(
    old: MakeExecution, make_policy: MakePolicy
) -> None:
    client, _ = Client.objects.create_with_token("one")
    old(client=client, artifact_count=1)
    make_policy(keep_metadata_days=1)
    purge()
    added_up = value(
        "SELECT coalesce(sum(bytes), 0) FROM executions_storagechange WHERE client_id = %s", client.pk
    )
    storage.recount()
    assert added_up == ClientStorage.objects.get(client=client).bytes == 0


@pytest.mark.parametrize("keeps", ["a policy", "no policy", "an open run", "a late end", "no seal", "no count"])
def test_one_execution_keeps_its_month(
    old: MakeExecution, make_execution: MakeExecution, make_policy: MakePolicy, keeps: str
) -> None:
    client, _ = Client.objects.create_with_token("one")
    execution = old()
    at = execution.queued_at
    make_policy(keep_metadata_days=1)
    match keeps:
        case "a policy":
            make_policy(client, keep_metadata_days=4000)
            old(client=client)
        case "no policy":
            make_policy(client)
            old(client=client)
        case "an open run":
            make_execution(status=Status.QUEUED, queued_at=at)
        case "a late end":
            RetentionPolicy.objects.update(keep_metadata_days=0)
            old(finished_at=timezone.now() - timedelta(minutes=5))
        case "no seal":
            make_execution(queued_at=at, finished_at=at)
        case "no count":
            Counted.objects.update(up_to=at)
    month = part_of(execution)
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert list(partitions.drop_due()) == []
    assert month in [part.name for part in history_parts()]
    assert Execution.objects.filter(pk=execution.pk).exists()


def test_a_month_that_somebody_reads_is_dropped_later(
    old: MakeExecution, make_policy: MakePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = old(stdout="out")
    make_policy(keep_metadata_days=1, keep_output_days=1)
    with monkeypatch.context() as meanwhile:
        waits = "SELECT %s; DO $$ BEGIN RAISE lock_not_available; END $$"
        meanwhile.setattr(partitions, "DROP", waits)
        assert [record.kind for record in purge()] == ["output"]
        assert Execution.objects.get() == execution
    assert [record.kind for record in purge()] == ["metadata"]
    assert not Execution.objects.exists()


def test_a_month_that_is_gone_is_no_error(months: list[str]) -> None:
    for name in ("executions_execution_y1999m01", "executions_execution_other", "executions_client"):
        assert value("SELECT history_drop(%s)", name) is None


def test_what_another_client_keeps_is_deleted_around(old: MakeExecution, make_policy: MakePolicy) -> None:
    client, _ = Client.objects.create_with_token("one")
    gone, stays = old(seal=False), old(client=client)
    make_policy(keep_metadata_days=1)
    make_policy(client)
    (record,) = purge()
    assert record.ids == [gone.pk]
    assert Execution.objects.get() == stays
    assert list(verify()) == []


def test_a_whole_record_stays_until_its_month_is_over(
    months: list[str], make_execution: MakeExecution, make_policy: MakePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And for a day longer, in which the month may be dropped: nothing is counted here."""
    begin = begin_of_month(timezone.now() - timedelta(days=60))
    execution = make_execution(queued_at=begin, finished_at=begin + timedelta(hours=1))
    sealing.seal()
    make_policy(keep_metadata_days=0)
    over = next_month(begin)
    for at, number in (
        (begin + timedelta(days=27), 0), (over + timedelta(hours=23), 0), (over + timedelta(hours=25), 1)
    ):  # fmt: skip
        monkeypatch.setattr(timezone, "now", lambda at=at: at)
        assert len(purge()) == number, at
    assert not Execution.objects.filter(pk=execution.pk).exists()
