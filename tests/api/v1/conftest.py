import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from clients.models import Client, Role
from executions.models import Execution
from runtimes.models import Runtime
from tests.api.conforming import ConformingClient

API = "/api/v1"


@pytest.fixture(scope="session", autouse=True)
def nobody_listens(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The hub's connection lives as long as its process, and would keep the test database from being dropped."""
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture
def client_row(client_with_token: tuple[Client, str], python_runtime: Runtime) -> Client:
    return client_with_token[0]


@pytest.fixture
def api(client_with_token: tuple[Client, str], python_runtime: Runtime) -> APIClient:
    """A caller with a token; there is one runtime, python."""
    api = ConformingClient(headers={"Authorization": f"Bearer {client_with_token[1]}"})
    api.raise_request_exception = True
    return api


@pytest.fixture
def root(api: APIClient) -> APIClient:
    """An administrator's token."""
    _, token = Client.objects.create_with_token("root", role=Role.ADMINISTRATOR)
    return ConformingClient(headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def stranger(api: APIClient) -> APIClient:
    _, token = Client.objects.create_with_token("stranger")
    return ConformingClient(headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def submit(api: APIClient) -> Callable[..., Any]:
    def submit(*, headers: dict[str, str] | None = None, **body: Any) -> Any:
        wanted = {"runtime": "python", "code": "print(1)"} | body
        wanted = {name: value for name, value in wanted.items() if value is not ...}
        return api.post(f"{API}/executions", json.dumps(wanted), content_type="application/json", headers=headers)

    return submit


@pytest.fixture
def mine(make_execution: Callable[..., Execution], client_row: Client) -> Callable[..., Execution]:
    """An execution of the caller's, as `make_execution` makes it."""

    def mine(**overrides: Any) -> Execution:
        return make_execution(**{"client": client_row} | overrides)

    return mine
