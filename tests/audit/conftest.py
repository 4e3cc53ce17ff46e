from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from audit import purging, sealing
from audit.models import RetentionPolicy, Seal
from audit.sources import PARTS, SOURCES
from audit.verification import verify
from clients.models import Client
from executions.models import Artifact, Execution, InputFile
from redaction import services as redaction
from runtimes.models import Runtime


@contextmanager
def superuser() -> Iterator[Any]:
    """What a superuser of the database can do, and nothing in it prevents: work with all triggers off."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        try:
            yield cursor
        finally:
            cursor.execute("SET session_replication_role = origin")


def execute(sql: str, *params: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return int(cursor.rowcount)


def tamper(sql: str, *params: Any) -> int:
    with superuser() as cursor:
        cursor.execute(sql, params)
        return int(cursor.rowcount)


def recompute_chain() -> None:
    """What a writer of the database can do after a change: compute leaves, roots and hashes anew, and chain them."""
    source, previous = SOURCES[0], ""
    for seal in Seal.objects.order_by("sequence"):
        hashes = source.hashes(seal.columns[source.table])
        parts = ", ".join(f"{part} = {value}" for part, value in zip(PARTS, hashes, strict=True))
        of_seal = f"l.seal = {seal.sequence} AND l.source = '{source.table}' AND t.id = l.row_id::uuid"
        execute("SET LOCAL TimeZone TO 'UTC'")
        tamper(f"UPDATE audit_leaf l SET {parts} FROM {source.table} t WHERE {of_seal}")
        seal.previous = previous
        seal.root, seal.count = sealing.root(seal)
        seal.hash = previous = seal.computed_hash()
        tamper("UPDATE audit_seal SET root = %s, count = %s, previous = %s, hash = %s WHERE sequence = %s",
               seal.root, seal.count, seal.previous, seal.hash, seal.sequence)  # fmt: skip


def strip_signatures() -> None:
    """Makes the seals what they were before there were keys."""
    tamper("UPDATE audit_seal SET key = '', signature = NULL, statement = NULL")
    tamper("DELETE FROM audit_sealkey")
    recompute_chain()


def cut_off(sequence: int) -> None:
    """Remove a seal with all that it covers."""
    tamper(
        "DELETE FROM executions_execution WHERE id IN (SELECT row_id::uuid FROM audit_leaf"
        " WHERE seal = %s AND source = 'executions_execution')",
        sequence,
    )
    tamper(
        "DELETE FROM audit_runtimeevent WHERE pgh_id IN (SELECT row_id::int FROM audit_leaf"
        " WHERE seal = %s AND source = 'audit_runtimeevent')",
        sequence,
    )
    tamper("DELETE FROM audit_leaf WHERE seal = %s", sequence)
    tamper("DELETE FROM audit_seal WHERE sequence = %s", sequence)


@pytest.fixture
def forget_what_was_signed() -> Callable[[], None]:
    """As if the process that seals had signed nothing yet: an upgrade from before there were keys."""
    return lambda: Path(f"{settings.SANDBOX_SEAL_KEY_FILE}.head").unlink()


@pytest.fixture
def history(make_execution: Callable[..., Execution], python_runtime: Runtime) -> list[Execution]:
    """Three seals, each over one execution; the second has an artifact and an input file."""
    executions = []
    for number in range(3):
        execution = make_execution(code=f"print({number})", stdout=f"{number}\n")
        executions.append(execution)
        if number == 1:
            Artifact.objects.create(execution=execution, name="plot.png", content=b"PNG", size=3)
            InputFile.objects.create(execution=execution, path="data/in.csv", content=b"1;2")
        Runtime.objects.update(image=f"image:{number}")
        sealing.seal()
    return executions


def pass_time(monkeypatch: pytest.MonkeyPatch, **time: float) -> None:
    now = timezone.now() + timedelta(**time)
    monkeypatch.setattr(timezone, "now", lambda: now)


def problems(**options: Any) -> list[str]:
    return [str(finding) for finding in verify(**options)]


@pytest.fixture(autouse=True)
def rules_are_read_anew() -> Iterator[None]:
    redaction.cache.forget()
    yield
    redaction.cache.forget()


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "GRACE", timedelta(0))


@pytest.fixture
def make_policy(db: None) -> Callable[..., RetentionPolicy]:
    def make(client: Client | None = None, **days: Any) -> RetentionPolicy:
        return RetentionPolicy.objects.create(client=client, **days)

    return make
