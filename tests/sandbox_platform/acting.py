"""Acting as each service's role in Postgres."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import Error, connection, transaction
from django.test import override_settings
from psycopg import sql
from pytest_django import DjangoDbBlocker

from executions.models import Execution
from sandbox_platform import roles
from sandbox_platform.kit.services import Service

MakeExecution = Callable[..., Execution]


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    # With every role that an installation may have.
    with django_db_blocker.unblock(), override_settings(SANDBOX_BUILDER="buildah"):
        roles.ensure()


@pytest.fixture(autouse=True)
def there_are_roles(made: None, db: None) -> None:
    pass


@contextmanager
def acting_as(service: Service) -> Iterator[None]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.SQL("SET LOCAL SESSION AUTHORIZATION {}").format(sql.Identifier(service.role)))
        yield
        cursor.execute("RESET SESSION AUTHORIZATION")


def attempt(service: Service, statement: str, *parameters: Any) -> str:
    """Why the role may not; fails if it may."""
    with pytest.raises(Error) as refused, acting_as(service), connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
    return str(refused.value)
