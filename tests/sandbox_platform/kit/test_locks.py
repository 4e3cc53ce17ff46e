"""Advisory locks: each has a number of its own, and all numbers stand in one place."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from audit import keys
from inspections import services as inspections
from sandbox_platform.kit import liveness
from sandbox_platform.kit.locks import Lock, node_key

REGISTRY = "sandbox_platform/kit/locks.py"
NUMBER = re.compile(r"\b7_?385_?\d{3}\b")
TAKES = re.compile(r"pg_(?:try_)?advisory_(?:xact_)?(?:un)?lock(?:_shared)?\(([^)]*)\)")
PLACEHOLDERS = ("%s", "%s, %s", "{Lock.SEAL:d}")


def sources() -> Iterator[tuple[str, str]]:
    """Path and text of each Python file of ours but the registry and this one."""
    root = Path(settings.BASE_DIR)
    for path in sorted(root.glob("*/**/*.py")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(".") and name != REGISTRY and path != Path(__file__):
            yield name, path.read_text(encoding="utf-8")


def test_no_number_of_a_lock_is_written_elsewhere() -> None:
    elsewhere = {
        name: sorted(set(NUMBER.findall(text)))
        for name, text in sources()
        # What a migration has made is in databases: its text is final, and its number that of the seals.
        if set(NUMBER.findall(text)) - ({str(Lock.SEAL.value)} if "/migrations/" in name else set())
    }
    assert elsewhere == {}


def test_every_lock_that_is_taken_has_its_number_from_the_registry() -> None:
    odd = {
        name: taken
        for name, text in sources()
        if "/migrations/" not in name
        for taken in TAKES.findall(text)
        if taken not in PLACEHOLDERS or (not name.startswith("tests/") and "Lock." not in text)
    }
    assert odd == {}


def test_the_number_that_databases_have_in_a_trigger_stays() -> None:
    assert Lock.SEAL == 7385003
    guards = settings.BASE_DIR / "audit" / "migrations" / "guards.sql"
    assert f"pg_advisory_xact_lock_shared({Lock.SEAL.value})" in guards.read_text()


@pytest.fixture
def other(database_url: str) -> Iterator[psycopg.Connection]:
    """Another process's session."""
    with psycopg.connect(database_url, autocommit=True) as session:
        yield session


@pytest.mark.django_db(transaction=True)
def test_a_builder_is_neither_a_worker_nor_the_callbacks(other: psycopg.Connection) -> None:
    liveness.hold_builder(other)
    alive = liveness.builders_alive(), liveness.callbacks_alive(), liveness.workers_alive(settings.SANDBOX_NODE)
    assert alive == (1, 0, 0)


@pytest.mark.django_db(transaction=True)
def test_sealing_and_the_callbacks_do_not_know_each_other(other: psycopg.Connection) -> None:
    liveness.hold_callbacks(other)
    assert liveness.callbacks_alive() == 1
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        assert keys.lock(wait=False)
        cursor.execute("ROLLBACK")
    held = other.execute("SELECT classid FROM pg_locks WHERE locktype = 'advisory'").fetchall()
    assert held == [(Lock.CALLBACKS.value,)]


@pytest.mark.django_db(transaction=True)
def test_one_inspection_at_a_time_on_a_node(other: psycopg.Connection) -> None:
    mine = [Lock.INSPECTIONS.value, node_key(settings.SANDBOX_NODE)]
    with inspections.inspection_lock() as locked:
        assert locked
        assert other.execute("SELECT pg_try_advisory_lock(%s, %s)", mine).fetchone() == (False,)
    assert other.execute("SELECT pg_try_advisory_lock(%s, %s)", mine).fetchone() == (True,)
    with inspections.inspection_lock() as locked:
        assert not locked
