"""Measure a long history by month: `python -m bench.scaling.months --rows 10000000`, and beside it `--plain`.

Fills a year of executions in Postgres itself, into monthly partitions or into one table, and measures the lists,
filters and searches of bench.history, an export of a day, the sizes on disk and VACUUM. Then it seals the oldest month
and purges it by a policy: dropped with its partition, or 20 batches of it deleted row by row with `--plain`. Meanwhile
a reader asks for the newest rows all the time; its longest wait is what the purge costs others. With `--plain`, the
whole history is partitioned at the end, with the same reader.

Programs are of some 80 characters. Beside the database, indexes take disk while they are made.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psycopg

from bench.client import load
from bench.embedded import django_on_embedded_postgres
from bench.history import API, SEED, SPAN, Bench, Texts, say, summary, timed
from bench.scaling.page import GIB

EXPORTED = timedelta(days=1)
# A month that is purged has at least so many days: the first one of the year may have begun late.
LEAST = timedelta(days=20)
CHUNK = 250_000
KEPT_FREE_GIB = 6
BYTES_A_ROW = 2000  # at most, with what indexes take while they are made
NEWEST = b"SELECT id, status FROM executions_execution ORDER BY id DESC LIMIT 50"
SIZES = """
    SELECT sum(pg_table_size(oid)), sum(pg_indexes_size(oid)) FROM pg_class WHERE relkind = 'r' AND (
        oid = 'executions_execution'::regclass
        OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'executions_execution'::regclass))
"""
# Without partitions, the rows of so many batches are deleted, and the time of the month follows from it.
BATCHES = 20


def seconds(work: Callable[[], Any]) -> float:
    started = time.monotonic()
    work()
    return round(time.monotonic() - started, 3)


@contextmanager
def stopwatch(result: dict[str, Any], name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    result[name] = round(time.monotonic() - started, 1)


def sql(statement: str, *parameters: Any) -> Any:
    return next(iter(every(statement, *parameters)), None)


def every(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return list(cursor.fetchall()) if cursor.description else []


def export(bench: Bench) -> dict[str, Any]:
    """Export a day from the middle of the year."""
    begin = datetime.now(UTC) - SPAN / 2
    path = (
        f"{API}/export?queued_after={begin:%Y-%m-%dT%H:%M:%SZ}&queued_before={begin + EXPORTED:%Y-%m-%dT%H:%M:%SZ}"
    )
    lines = 0

    def read() -> None:
        nonlocal lines
        answer = bench.get(bench.http, path)
        lines = b"".join(answer.streaming_content).count(b"\n")

    took = seconds(read)
    return {"export_s": took, "exported": lines}


FILL = """
    INSERT INTO executions_execution ({columns}) SELECT {values} FROM (
        SELECT n, at, at + random() * interval '30 ms' AS started, at + random() * interval '500 ms' AS ended,
            1 + (random() * {last})::int AS text, random() AS chance
        FROM (SELECT n, %s::timestamptz + n * %s::interval AS at FROM generate_series(%s, %s) n) made
    ) made JOIN bench_texts USING (text)
"""
# Of each row, beside what it has in common with the template. Ids as uuid7 makes them, of the row's time.
VALUES = {
    "id": "(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'"
    " || left(md5(n::text), 3) || 'a' || right(md5(n::text), 15))::uuid",
    "code": "'# run ' || n || E'\\n' || code",
    "stdout": "output",
    "stderr": "CASE WHEN chance < 0.12 THEN output ELSE '' END",
    "labels": "CASE WHEN n %% 3 = 0 THEN jsonb_build_object('canvas', 'c' || n %% 500) ELSE '{}' END",
    "status": "CASE WHEN chance < 0.0001 THEN 'out_of_memory' WHEN chance < 0.03 THEN 'timed_out'"
    " WHEN chance < 0.12 THEN 'failed' ELSE 'succeeded' END",
    "outcome": "CASE WHEN chance < 0.0001 THEN 'memory' WHEN chance < 0.03 THEN 'wall_time'"
    " WHEN chance < 0.12 THEN 'nonzero_exit' ELSE 'completed' END",
    "exit_code": "CASE WHEN chance < 0.12 THEN 1 ELSE 0 END",
    "queued_at": "at",
    "enqueued_at": "at",
    "started_at": "started",
    "ended_at": "ended",
    "finished_at": "ended",
    "cpu_ms": "5 + (random() * 495)::int",
    "peak_memory_bytes": "(20 + (random() * 230)::int) * 1048576",
}


def fill(rows: int, texts: Texts) -> dict[str, Any]:
    """Insert the rows without indexes and triggers, and make the indexes then."""
    from django.db import connection

    from executions.models import Execution

    indexes = [
        definition.replace(" ON ONLY ", " ON ")
        for (definition,) in every(
            "SELECT pg_get_indexdef(indexrelid) FROM pg_index"
            " WHERE indrelid = 'executions_execution'::regclass AND NOT indisunique"
        )
    ]
    for definition in indexes:
        sql(f"DROP INDEX {definition.split()[2]}")
    sql("CREATE TEMPORARY TABLE bench_texts (text int PRIMARY KEY, code text, output text)")
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO bench_texts VALUES (%s, %s, %s)",
            [(n, *each) for n, each in enumerate(zip(texts.codes, texts.outputs, strict=True), 1)],
        )
    sql("CREATE TEMPORARY TABLE template AS SELECT * FROM executions_execution LIMIT 1")
    names = [field.column for field in Execution._meta.concrete_fields if field.column and not field.generated]
    values = [VALUES.get(name, f'(SELECT "{name}" FROM template)') for name in names]  # noqa: S608
    columns = ", ".join(f'"{name}"' for name in names)
    statement = FILL.format(columns=columns, values=", ".join(values), last=len(texts.codes) - 1)
    begin, step = datetime.now(UTC) - SPAN, SPAN / rows
    result: dict[str, Any] = {}
    sql("SET session_replication_role = replica")
    with stopwatch(result, "insert_s"):
        for first in range(0, rows, CHUNK):
            say(f"{first} of {rows} rows, load {os.getloadavg()[0]:.1f}")
            sql(statement, begin, step, first, min(first + CHUNK, rows) - 1)
    sql("SET session_replication_role = origin")
    sql("SET maintenance_work_mem = '1GB'")
    with stopwatch(result, "indexes_s"):
        for definition in indexes:
            say(f"index {definition.split()[2]}")
            sql(definition)
    sql("SELECT history_complete(part) FROM (SELECT 'executions_execution' UNION ALL"
        " SELECT part FROM history_parts()) parts (part)")  # fmt: skip
    with stopwatch(result, "analyze_s"):
        sql("ANALYZE")
    return result


def oldest(rows: int) -> tuple[datetime, int]:
    """Return the end of the month to purge, which begins with the year, and its number of rows."""
    from audit import partitions

    begin = datetime.now(UTC) - SPAN
    end = partitions.next_month(begin + partitions.TO_SPARE)
    if end - begin < LEAST:
        end = partitions.next_month(end)
    return end, round(rows * ((end - begin) / SPAN))


def sealed(end: datetime) -> float:
    """Seal the month; the other rows are no part of this measurement."""
    from audit import keys, sealing
    from executions.models.ids import first_id

    sql("SET session_replication_role = replica")
    sql("DELETE FROM audit_pending WHERE source = 'executions_execution'")
    sql(
        "INSERT INTO audit_pending (source, row_id) SELECT 'executions_execution', id::text"
        " FROM executions_execution WHERE id < %s ORDER BY id",
        first_id(end),
    )
    sql("SET session_replication_role = origin")
    keys.prepare()
    return seconds(lambda: list(sealing.seal()))


def purged(end: datetime, number: int) -> dict[str, Any]:
    """Purge what a policy no longer keeps. Return how long that takes, and how long others wait meanwhile."""
    from django.utils import timezone

    from audit import purging
    from audit.models import RetentionPolicy
    from executions.models import Rollup
    from executions.parts import is_partitioned
    from usage.models import Counted

    now = timezone.now()
    Counted.objects.update_or_create(id=1, defaults={"up_to": now})
    Rollup.objects.update_or_create(id=1, defaults={"up_to": now})
    RetentionPolicy.objects.create(keep_metadata_days=(now - end).days)
    before = sql("SELECT pg_current_wal_insert_lsn() - '0/0'")[0]
    months = is_partitioned()
    with Reader() as reader:
        started = time.monotonic()
        gone = 0
        for batch, record in enumerate(purging.purge(), 1):
            gone += record.count
            if not months and batch >= BATCHES:
                break
        took = time.monotonic() - started
    wal = sql("SELECT pg_current_wal_insert_lsn() - '0/0'")[0] - before
    return {
        "purged": gone, "purge_s": round(took, 2), "all_of_it_s": round(took * number / max(gone, 1), 1),
        "wal_bytes_a_row": round(wal / max(gone, 1)), "reader_longest_ms": round(reader.longest_ms, 1),
        "reads": reader.reads,
    }  # fmt: skip


class Reader(threading.Thread):
    """Asks for the newest rows again and again. `longest_ms`: what it waited at most."""

    def __init__(self) -> None:
        super().__init__()
        self.longest_ms, self.reads = 0.0, 0
        self._ended = threading.Event()

    def run(self) -> None:
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
            while not self._ended.wait(0.01):
                started = time.perf_counter()
                database.execute(NEWEST).fetchall()
                self.longest_ms = max(self.longest_ms, (time.perf_counter() - started) * 1000)
                self.reads += 1

    def __enter__(self) -> "Reader":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def converted() -> dict[str, Any]:
    """Partition the history that is there. What it holds stays in the first partition."""
    from audit import partitions

    steps: list[tuple[str, float]] = []
    with Reader() as reader:
        took = seconds(lambda: partitions.convert(lambda step: steps.append((step, time.monotonic()))))
        ended = time.monotonic()
    times = [at for _, at in steps[1:]] + [ended]
    result = {step: round(end - at, 2) for (step, at), end in zip(steps, times, strict=True)}
    return {"convert_s": took, "steps": result, "reader_longest_ms": round(reader.longest_ms, 1)}


def short(chance: random.Random) -> Texts:
    """Return texts of the length of a trivial program."""
    texts = Texts(chance)
    texts.codes = [code[:80] for code in texts.codes]
    texts.outputs = [output[:40] for output in texts.outputs]
    return texts


def measure(rows: int, *, plain: bool) -> dict[str, Any]:
    from audit import partitions

    bench = Bench()
    result: dict[str, Any] = {"rows": rows, "by month": not plain, "load before": load()}
    if not plain:
        partitions.convert(say, at=datetime.now(UTC) - SPAN)
    bench.insert()
    texts = short(random.Random(SEED))
    bench.finish()
    result |= fill(rows, texts)
    result |= {"table_bytes": (size := sizes())[0], "index_bytes": size[1]}
    say("lists, filters, search, detail, admin")
    for name, (http, path) in bench.cases(rows, texts).items():
        # A search that takes too long to be ordered by duration is refused.
        refused = http.get(path).status_code == HTTPStatus.UNPROCESSABLE_ENTITY
        result[name] = "refused" if refused else summary(timed(partial(bench.get, http, path)))
        say(f"{name}: {result[name]}")
    result |= export(bench)
    result["full"] = bench.write()
    result["vacuum_s"] = seconds(lambda: sql("VACUUM (ANALYZE) executions_execution"))
    end, number = oldest(rows)
    say(f"about {number} rows of the oldest month, up to {end:%Y-%m-%d}")
    result["seal_s"] = sealed(end)
    result |= purged(end, number)
    result["after"] = dict(zip(("table_bytes", "index_bytes"), sizes(), strict=True))
    if plain:
        say("the whole history becomes the first partition")
        result |= {"conversion": converted()}
    return result | {"load after": load()}


def sizes() -> tuple[int, int]:
    """Return the bytes on disk of the history's tables and of their indexes."""
    table, indexes = sql(SIZES)
    return int(table), int(indexes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--plain", action="store_true", help="one table, to compare with")
    parser.add_argument("--data", type=Path, metavar="DIR", help="where the database is, empty at first")
    options = parser.parse_args()
    free = shutil.disk_usage(options.data or tempfile.gettempdir()).free
    if free < options.rows * BYTES_A_ROW + KEPT_FREE_GIB * GIB:
        parser.error(f"{free / GIB:.0f} GiB of disk are free, which are too few for so many rows")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by default nothing would be stopped and removed
    with django_on_embedded_postgres(options.data):
        print(json.dumps(measure(options.rows, plain=options.plain), indent=1))


if __name__ == "__main__":
    main()
