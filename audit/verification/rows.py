"""Compare the sealed rows with their hashes."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import connection
from django.utils import timezone

from audit.models import ExecutionPart, Leaf, Seal
from audit.sealing import root, stream
from audit.sources import BESIDE, EXECUTIONS, LATER, PARTS, SOURCES, Columns, Source, blank_hash
from audit.verification.findings import SKEW, Finding


class Existing(dict[str, set[str]]):
    """The columns that each table has, each table looked up once."""

    def __missing__(self, table: str) -> set[str]:
        with connection.cursor() as cursor:
            description = connection.introspection.get_table_description(cursor, table)
        return self.setdefault(table, {column.name for column in description})


def check_content(seal: Seal, existing: Existing) -> Iterator[Finding]:
    if seal.computed_hash() != seal.hash:
        # A changed seal is no evidence about its leaves and their columns.
        problem = "changed: its hash does not match its content; its rows are not checked"
        yield Finding("audit_seal", str(seal.sequence), problem, seal)
        return
    yield from _check_root(seal)
    leaves = set(Leaf.objects.filter(seal=seal.sequence).values_list("source", flat=True).distinct())
    for source in SOURCES:
        if source.table in leaves:
            yield from _check_rows(source, seal, existing)


def _check_root(seal: Seal) -> Iterator[Finding]:
    found, count = root(seal)
    if count != seal.count:
        problem = f"has {count} leaves where {seal.count} were sealed"
        yield Finding("audit_leaf", f"of seal {seal.sequence}", problem, seal)
    elif found != seal.root:
        yield Finding("audit_leaf", f"of seal {seal.sequence}", "changed: they do not match the seal's root", seal)


def _check_rows(source: Source, seal: Seal, existing: Existing) -> Iterator[Finding]:
    columns: Columns | None = seal.columns.get(source.table)
    if columns is None:
        return  # the table is newer than this seal
    if set(columns) | LATER != set(source.columns()) | LATER:
        yield Finding(source.table, "", "cannot be verified: the seal covers unknown parts", seal)
        return
    # The names come from the database: only names of existing columns may become part of a statement.
    if gone := sorted(_gone(source, columns, existing)):
        yield Finding(source.table, "", f"cannot be verified: the columns {', '.join(gone)} no longer exist", seal)
        return
    for leaf, now, ended, purged in _rows(source, seal, columns):
        for problem in _problems(leaf[1:], now, purged, columns) if now[0] else _absence(purged):
            yield Finding(source.table, leaf[0], problem, seal)
        if ended and not (seal.period_from or ended) - SKEW <= ended <= seal.created_at + SKEW:
            yield Finding(source.table, leaf[0], f"back-dated: it claims {ended:%Y-%m-%d %H:%M:%S}", seal)


Hashes = tuple[bytes | None, ...]


def _rows(
    source: Source, seal: Seal, columns: Columns
) -> Iterator[tuple[tuple[Any, ...], Hashes, datetime | None, list[str]]]:
    purged = (
        "(SELECT array_agg(DISTINCT kind::text) FROM audit_purgerecord WHERE ids @> ARRAY[l.row_id::uuid])"
        if source == EXECUTIONS
        else "NULL"
    )
    # For a missing row, return NULL instead of the hash of nothing: a NULL hash of the metadata marks it as missing.
    hashes = [f'CASE WHEN t."{source.key}" IS NOT NULL THEN {part} END' for part in source.hashes(columns)]
    sql = f"""
        SELECT l.row_id, {", ".join(f"l.{part}" for part in PARTS)}, {", ".join(hashes)}, {source.ended}, {purged}
        FROM audit_leaf l LEFT JOIN {source.table} t ON {source.join("l.row_id")}
        WHERE l.seal = %s AND l.source = %s ORDER BY l.id
    """
    first = 1 + len(PARTS)
    for row in stream(sql, [seal.sequence, source.table]):
        leaf = (row[0], *map(_bytes, row[1:first]))
        yield leaf, tuple(map(_bytes, row[first:-2])), row[-2], row[-1] or []


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


def _absence(purged: list[str]) -> Iterator[str]:
    if ExecutionPart.METADATA not in purged:
        yield "deleted without a purge record"


def _problems(sealed: Hashes, now: Hashes, purged: list[str], columns: Columns) -> Iterator[str]:
    if ExecutionPart.METADATA in purged:
        yield "exists although it was purged: inserted"
        return
    for part, old, new in zip(PARTS, sealed, now, strict=True):
        if old == new:
            continue
        if part not in purged:
            yield f"changed: {part} ({', '.join(columns[part])})"
        elif new != blank_hash(part, columns[part]):
            yield f"changed after its purge: {part}"


def _gone(source: Source, columns: Columns, existing: Existing) -> set[str]:
    """Sealed columns that a later version of the platform dropped."""
    gone: set[str] = set()
    for part, names in columns.items():
        model = BESIDE.get(part, source.model)
        gone |= set(names) - existing[model._meta.db_table]
    return gone


def check_strays() -> Iterator[Finding]:
    """Yield leaves whose seal is missing, and pending rows that were deleted before they were sealed."""
    sql = """
        SELECT seal, count(*) FROM audit_leaf l
        WHERE NOT EXISTS (SELECT FROM audit_seal s WHERE s.sequence = l.seal) GROUP BY seal ORDER BY seal
    """
    for sequence, count in stream(sql):
        yield Finding("audit_leaf", f"of seal {sequence}", f"{count} rows without a seal: the seal was deleted")
    for source in SOURCES:
        sql = f"""
            SELECT p.row_id FROM audit_pending p WHERE p.source = %s
            AND NOT EXISTS (SELECT FROM {source.table} t WHERE {source.join("p.row_id")})
        """
        for (row_id,) in stream(sql, [source.table]):
            yield Finding(source.table, row_id, "deleted before it was sealed")


def check_unsealed(source: Source, last: Seal | None) -> Iterator[Finding]:
    """Yield rows that no seal will cover, and rows that wait for their seal with a time outside its period."""
    sql = f"""
        SELECT t."{source.key}"::text FROM {source.table} t WHERE {source.final}
        AND NOT EXISTS (
            SELECT FROM audit_leaf l WHERE l.source = %s AND l.row_id = t."{source.key}"::text)
        AND NOT EXISTS (
            SELECT FROM audit_pending p WHERE p.source = %s AND p.row_id = t."{source.key}"::text)
    """
    for (row_id,) in stream(sql, [source.table, source.table]):
        yield Finding(source.table, row_id, "neither sealed nor pending: inserted past the triggers")
    sql = f"""
        SELECT p.row_id, {source.ended} FROM audit_pending p JOIN {source.table} t ON {source.join("p.row_id")}
        WHERE p.source = %s AND ({source.ended} < %s OR {source.ended} > %s)
    """
    now = timezone.now()
    for row_id, ended in stream(sql, [source.table, last and last.period_to - SKEW, now + SKEW]):
        yield Finding(source.table, row_id, f"back-dated: it claims {ended:%Y-%m-%d %H:%M:%S}")
