"""A client that may call in every format, and the ends of its runs."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from clients.models import Client
from executions import services
from executions.models import Execution, Outcome, Status
from executions.verdict import Verdict
from runtimes.models import Runtime
from sandbox_platform.kit import formats
from sandbox_platform.kit.errors import TooMany
from tests.api.conforming import ConformingClient
from tests.api.v1.conftest import nobody_listens
from tests.conftest import TOKEN

__all__ = ["nobody_listens"]
DONE = Verdict(Status.SUCCEEDED, Outcome.COMPLETED, exit_code=0)
# What a field may hold that its reader does not expect.
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1e308,
    10**400,
    "",
    "\0",
    "\ud800",
    "..",
    "x" * 300,
    [],
    [None],
    [[[]]],
    {},
    {"a": None},
    {"": "\0"},
]


class Caller:
    def __init__(self, **headers: str) -> None:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self.http = ConformingClient(headers=given)

    def post(self, path: str, body: Any, **options: Any) -> Any:
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.http.post(path, text, content_type="application/json", **options)

    def get(self, path: str, **options: Any) -> Any:
        return self.http.get(path, **options)


@pytest.fixture
def client_row(client_with_token: tuple[Client, str], python_runtime: Runtime) -> Client:
    client = client_with_token[0]
    client.formats = [format.name for format in formats.FORMATS]
    client.save()
    return client


@pytest.fixture
def caller(client_row: Client) -> Caller:
    return Caller(Authorization=f"Bearer {TOKEN}")


@pytest.fixture
def judge(client_row: Client) -> Caller:
    return Caller(X_Auth_Token=TOKEN)


@pytest.fixture
def stranger(client_row: Client) -> Caller:
    """Another client, which may call in every format, too."""
    token = Client.objects.create_with_token("stranger", formats=client_row.formats)[1]
    return Caller(Authorization=f"Bearer {token}")


@pytest.fixture
def c_runtime(db: None) -> Runtime:
    return Runtime.objects.create(
        slug="c",
        name="C (GCC 14)",
        aliases=["gcc"],
        image="sandbox-platform/runtime-c:latest",
        source_file="main.c",
        runner="command",
        modes=["script"],
        compile_command="gcc -o {program} {source}",
        run_command="{program}",
    )


@contextmanager
def ending(verdict: Verdict = DONE, **columns: Any) -> Iterator[None]:
    """Meanwhile, every run that is submitted ends so. Needs a test with real transactions."""
    stop = threading.Event()

    def end() -> None:
        try:
            while not stop.is_set():
                for pk in Execution.objects.open().values_list("pk", flat=True):
                    services.finish(pk, verdict, **columns)
                time.sleep(0.01)
        finally:
            connection.close()

    thread = threading.Thread(target=end)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that would be submitted is refused, so that none waits."""

    def refuse(*args: Any, **options: Any) -> None:
        raise TooMany("Enough.", code="test", retry_after_s=7)

    monkeypatch.setattr(services, "submit", refuse)


def spoilt(body: dict[str, Any]) -> Iterator[Any]:
    """The body with each of its values replaced by each odd one, and things that are no body."""
    yield from (json.dumps(value) for value in ODD)
    yield from ("", "{", "[" * 2000, b"\xff", '{"a": NaN}')
    for path in _paths(body):
        for value in ODD:
            copied = json.loads(json.dumps(body))
            inner = copied
            for name in path[:-1]:
                inner = inner[name]
            inner[path[-1]] = value
            yield json.dumps(copied)


def _paths(value: Any) -> Iterator[list[Any]]:
    names: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for name in names:
        yield [name]
        yield from ([name, *below] for below in _paths(value[name]))
