"""Make seals.

A seal hashes all rows that became final since the last seal, is chained to that seal, and is signed.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from audit import keys
from audit.models import Leaf, Seal, SealingFailure
from audit.sources import EXECUTIONS, FACTS, PARTS, SOURCES, Columns, Source

logger = logging.getLogger(__name__)

# Most rows under one seal. More pending rows, as after an import, get several seals.
ROWS = 100_000
FETCH = 1000


def seal(*, older_than: datetime | None = None, after_restore: bool = False) -> list[Seal]:
    """Seal all final rows and return the new seals.

    With `older_than`, do nothing if the last seal is newer, unless it has no signature, or if another process is
    sealing. With `after_restore`, state that a backup has replaced the seal made here last.

    Raises KeyUnusable or HistoryReplaced, and then seals nothing: no seal is made without a signature.
    """
    made: list[Seal] = []
    while True:
        with transaction.atomic():
            if not keys.lock(wait=older_than is None):
                return made
            last = Seal.objects.order_by("-sequence").first()
            if not made and last and last.key and older_than and last.created_at > older_than:
                return made
            new = _seal_next(last, _statement(last, after_restore=after_restore and not made))
        keys.remember(new)
        # The keeper's job looks once a minute: until then doctor and alerts would report what is mended.
        SealingFailure.objects.filter(node=settings.SANDBOX_NODE).delete()
        # The log is a copy outside the database, which proves that the seal was not replaced later.
        logger.info("seal %s of %s rows: %s", new.sequence, new.count, new.hash)
        made.append(new)
        if new.count < ROWS:
            return made


def _statement(last: Seal | None, *, after_restore: bool) -> dict[str, str] | None:
    statement = {Seal.UNSIGNED: last.head} if last and not last.key else {}
    try:
        keys.check_history()
    except keys.HistoryReplaced as e:
        if not after_restore:
            raise
        statement[Seal.RESTORED] = e.head
    return statement or None


def _seal_next(last: Seal | None, statement: dict[str, str] | None) -> Seal:
    signer = keys.signer()
    new = Seal(
        sequence=last.sequence + 1 if last else 1,
        period_from=last.period_to if last else None,
        period_to=timezone.now(),
        columns={source.table: source.columns() for source in SOURCES},
        previous=last.hash if last else "",
        key=keys.in_force(signer).fingerprint,
        statement=statement,
    )
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TimeZone TO 'UTC'")
        left = ROWS
        for source in SOURCES:
            cursor.execute(*_insert_leaves(source, new, left))
            left -= cursor.rowcount
        cursor.execute(
            "DELETE FROM audit_pending p USING audit_leaf l"
            " WHERE l.seal = %s AND l.source = p.source AND l.row_id = p.row_id",
            [new.sequence],
        )
    new.root, new.count = root(new)
    new.created_at = timezone.now()
    new.hash = new.computed_hash()
    new.signature = signer.sign(new.signed)
    new.save(force_insert=True)
    return new


def _insert_leaves(source: Source, new: Seal, limit: int) -> tuple[str, list[Any]]:
    columns: Columns = new.columns[source.table]
    return (
        f"""
        INSERT INTO {Leaf._meta.db_table} (seal, source, row_id, {", ".join(PARTS)}, client, ended_at)
        SELECT %s, %s, p.row_id, {", ".join(source.hashes(columns))}, {source.facts}
        FROM (SELECT id, row_id FROM audit_pending WHERE source = %s ORDER BY id LIMIT %s) p
        JOIN {source.table} t ON {source.join("p.row_id")} ORDER BY p.id
        """,
        [new.sequence, source.table, source.table, limit],
    )


def root(seal: Seal) -> tuple[str, int]:
    """Return the hash over a seal's leaves, in hexadecimal, and their number."""
    digest, count = hashlib.sha256(), 0
    facts = has_facts(seal)
    sql = (
        f"SELECT source, row_id, {', '.join(PARTS)}, client, ended_at FROM audit_leaf WHERE seal = %s ORDER BY id"
    )
    for row in stream(sql, [seal.sequence]):
        parts = row[2:-2]
        digest.update(leaf_hash(*row[:2], *parts, *([_facts_hash(*row[-2:])] if facts else [])))
        count += 1
    return digest.hexdigest(), count


def has_facts(seal: Seal) -> bool:
    """Return whether the seal covers whose its executions were and when they ended. The first seals do not."""
    return FACTS in seal.columns.get(EXECUTIONS.table, {})


def _facts_hash(client: int | None, ended_at: datetime | None) -> bytes | None:
    if ended_at is None:
        return None
    return hashlib.sha256(f"{client}\0{ended_at.isoformat()}".encode()).digest()


def leaf_hash(source: str, row_id: str, *parts: bytes | memoryview | None) -> bytes:
    """Hash one leaf. Every piece has a fixed length, so no piece can be taken for a part of its neighbour."""
    digest = hashlib.sha256(hashlib.sha256(f"{source}\0{row_id}".encode()).digest())
    for part in parts:
        digest.update(b"\0" * 33 if part is None else b"\1" + bytes(part))
    return digest.digest()


def stream(sql: str, params: Iterable[Any] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield rows through a server-side cursor, in constant memory. The caller must be in a transaction."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql, list(params))
        while rows := cursor.fetchmany(FETCH):
            yield from rows
