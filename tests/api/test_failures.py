"""A statement that Postgres cancels is a 503 with a reason, on every address."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client as Http
from django.test import RequestFactory

from api.failures import failed
from clients.models import Client

pytestmark = pytest.mark.django_db(transaction=True)
SETTING = "SANDBOX_WEB_STATEMENT_TIMEOUT"


@pytest.fixture
def slow_tables(database_url: str) -> Iterator[None]:
    """Another session holds what every request waits for. Statements here end after a moment."""
    with psycopg.connect(database_url) as other:
        other.execute("LOCK executions_token, executions_execution, auth_user")
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '200ms'")
        yield
        with connection.cursor() as cursor:
            cursor.execute("RESET statement_timeout")


def asked(http: Http, method: str, path: str, **headers: str) -> Any:
    http.raise_request_exception = False
    answer = http.generic(method, path, b"{}", content_type="application/json", headers=headers)
    assert (answer.status_code, answer["Retry-After"]) == (503, "5"), answer.content
    return answer


def test_the_api_answers_with_a_problem(
    client: Http, client_with_token: tuple[Client, str], slow_tables: None
) -> None:
    answer = asked(client, "GET", "/api/v1/executions", Authorization=f"Bearer {client_with_token[1]}")
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["type"].endswith(":too_slow")
    assert SETTING in answer.json()["detail"]


def test_run_answers_as_ragflow_does(
    client: Http, client_with_token: tuple[Client, str], slow_tables: None
) -> None:
    answer = asked(client, "POST", "/run", Authorization=f"Bearer {client_with_token[1]}")
    assert answer.json().keys() == {"detail"}
    assert SETTING in answer.json()["detail"]


def test_the_console_shows_a_page(browser: Http, slow_tables: None) -> None:
    answer = asked(browser, "GET", "/admin/executions/execution/")
    assert answer["Content-Type"].startswith("text/html")
    assert SETTING in answer.content.decode()


def test_another_failure_is_a_500_that_tells_nothing_of_it() -> None:
    try:
        raise RuntimeError("secret")
    except RuntimeError:
        answer = failed(RequestFactory().get("/api/v1/runtimes"))
    assert (answer.status_code, answer["Content-Type"]) == (500, "application/problem+json")
    assert b"secret" not in answer.content
