from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from audit import purging
from audit.models import RetentionPolicy
from clients.models import Client
from redaction import services as redaction


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
