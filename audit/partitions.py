"""A history that is partitioned by month, if `manage.py partition_history` has made it so (docs/scaling.md).

The work is done by functions in Postgres (migrations/partitions.sql), which run as the owner of the tables: no service
may change the schema. Where the history is one table, they find no partitions, and all this does nothing.
"""

import logging
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import Min
from django.utils import timezone
from psycopg import errors

from audit.models import PurgeRecord, RetentionPolicy
from executions.failures import grouping
from executions.failures.models import FailureRun
from executions.models import Execution
from executions.models.ids import first_id, made_at
from executions.parts import Part, history_parts, is_partitioned
from sandbox_platform.kit.locks import Lock

logger = logging.getLogger(__name__)

TABLE = Execution._meta.db_table
# What is queued while the history is being partitioned still belongs to its first partition.
TO_SPARE = timedelta(days=2)
# An execution may end after its month, and be counted and sealed later still: what keeps its month for some hours is no
# reason to delete the others of the month row by row.
TIME_TO_DROP = timedelta(days=1)
# An autovacuum gives way to whoever waits for a second. Nobody but it waits for this lock, which may take longer than
# the one that follows: see migrations/partitions.sql.
GIVE_WAY = f"""
    SET LOCAL lock_timeout = '2s';
    LOCK TABLE {Execution._meta.db_table} IN SHARE UPDATE EXCLUSIVE MODE;
    SET LOCAL lock_timeout = '300ms'
"""  # noqa: S608
TRIES = 100
PAUSE_S = 2.0
WAITED = (errors.LockNotAvailable, errors.DeadlockDetected)
BOUNDARY = "execution_before_boundary"
DROP_BOUNDARY = f"ALTER TABLE {TABLE} DROP CONSTRAINT {BOUNDARY}"
# The unique one is lost: see history_key() in migrations/partitions.sql.
KEY_INDEX = "execution_key_idx"
MAKE_KEY_INDEX = f"{KEY_INDEX} ON {TABLE} (client_id, idempotency_key) WHERE idempotency_key IS NOT NULL"
STEPS = """
    SELECT to_regclass('executions_idempotency') IS NOT NULL,
        EXISTS (SELECT FROM pg_constraint WHERE conrelid = %s::regclass AND conname = %s),
        EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(%s) AND indisvalid)
"""
# No purge meanwhile: the key of an execution that it deletes would stay.
FILL = f"""
    SELECT pg_advisory_xact_lock(%s);
    INSERT INTO executions_idempotency (execution_id, client_id, idempotency_key)
    SELECT id, client_id, idempotency_key FROM {TABLE} WHERE idempotency_key IS NOT NULL ON CONFLICT DO NOTHING
"""  # noqa: S608
DROP = "SELECT history_drop(%s)"


class NotPartitioned(Exception):
    """The history cannot be partitioned. The message says why."""


def begin_of_month(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(at: datetime) -> datetime:
    return begin_of_month(begin_of_month(at) + timedelta(days=32))


def make_ahead() -> int:
    """Make the partitions of the months to come; return how many were missing."""
    made = 0
    while _asked("SELECT history_ahead()"):
        made += 1
    if made:
        _asked("SELECT history_analyze()")
        logger.info("made %s partitions of the history", made)
    return made


def _asked(statement: str, *parameters: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchone()[0]


def whole_months(cutoff: datetime) -> datetime:
    """Return the cutoff of a purge of whole records: theirs go with their month, where the history has months."""
    return begin_of_month(cutoff - TIME_TO_DROP) if is_partitioned() else cutoff


def drop_due() -> Generator[PurgeRecord, None, bool]:
    """Drop each month of which no policy keeps anything. Yield its purge records after its commit.

    Returns whether a month has to wait, because somebody reads the history for longer than a lock waits.
    """
    waits = False
    shortest = RetentionPolicy.objects.aggregate(days=Min("keep_metadata_days"))["days"]
    if shortest is None:
        return waits
    latest = first_id(timezone.now() - timedelta(days=shortest))
    for part in history_parts():
        if part.high and part.high <= latest:
            try:
                yield from _drop(part)
            except OperationalError as e:
                # Such as a backup. The next hour tries again.
                logger.warning("%s is not dropped: %s", part.name, type(e).__name__)
                waits = True
    return waits


def _drop(part: Part) -> list[PurgeRecord]:
    runs = FailureRun.objects.filter(execution__lt=part.high)
    if part.low:
        runs = runs.filter(execution__gte=part.low)
    with transaction.atomic():
        grouping.hold()  # no other purge meanwhile
        newest = PurgeRecord.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        groups = grouping.quoting_runs(runs)
        number = _asked(DROP, part.name)
        if number is None:
            return []
        grouping.forget_messages(groups)
        records = list(PurgeRecord.objects.filter(pk__gt=newest).order_by("pk"))
    logger.info("dropped %s with %s executions", part.name, number)
    return records


def convert(say: Callable[[str], None], *, at: datetime | None = None) -> None:
    """Partition the history, while everything runs. May be interrupted, and called again. Raises NotPartitioned.

    `at`: a time in the first partition, which holds what there is already; now, unless there is nothing of later.
    """
    if not _asked("SELECT pg_try_advisory_lock(%s)", Lock.PARTITIONS):
        raise NotPartitioned("The history is being partitioned by another process.")
    try:
        _convert(say, first_id(next_month((at or timezone.now()) + TO_SPARE)))
    except OperationalError as e:
        raise NotPartitioned(f"Try again when there is less to do, and no backup is being made: {e}") from e
    finally:
        _asked("SELECT pg_advisory_unlock(%s)", Lock.PARTITIONS)


def _convert(say: Callable[[str], None], boundary: UUID) -> None:
    if is_partitioned():
        raise NotPartitioned("The history is partitioned already.")
    with connection.cursor() as cursor:
        cursor.execute(STEPS, [TABLE, BOUNDARY, KEY_INDEX])
        has_keys, has_boundary, has_index = cursor.fetchone()
    if not has_keys:
        say("the table of the keys that are used once")
        _patiently("SELECT history_keep_keys()")
    _patiently(FILL, Lock.FAILURES)
    if not has_index:
        _index_keys()
    if has_boundary:  # of an attempt before, perhaps in another month
        _patiently(DROP_BOUNDARY)
    say(f"all executions must lie before {made_at(boundary):%Y-%m-%d}")
    _patiently(f"ALTER TABLE {TABLE} ADD CONSTRAINT {BOUNDARY} CHECK (id < '{boundary}') NOT VALID")
    try:
        _patiently(f"ALTER TABLE {TABLE} VALIDATE CONSTRAINT {BOUNDARY}")
        say("the history becomes the first partition")
        _patiently("SELECT history_partition(%s)", boundary)
    except IntegrityError as e:
        _patiently(DROP_BOUNDARY)
        raise NotPartitioned(
            "An execution has an id of the future: a node's clock was wrong. It can be partitioned once that time "
            "has passed, or when the execution is purged."
        ) from e
    except BaseException:
        # From the boundary on, no execution could be stored. If this process is killed, history_ahead() does it.
        _patiently(DROP_BOUNDARY)
        raise
    make_ahead()


def _index_keys() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX IF EXISTS {KEY_INDEX}")  # of an attempt that was interrupted
        concurrently = "" if connection.in_atomic_block else "CONCURRENTLY"
        cursor.execute(f"CREATE INDEX {concurrently} {MAKE_KEY_INDEX}")


def _patiently(statement: str, *parameters: Any) -> None:
    """Run a statement that locks the history, again and again: a long wait would make everybody else wait behind it."""
    for attempt in range(1, TRIES + 1):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(GIVE_WAY)
                cursor.execute(statement, parameters or None)
            return
        except OperationalError as e:
            if attempt == TRIES or not isinstance(e.__cause__, WAITED):
                raise
            time.sleep(PAUSE_S)
