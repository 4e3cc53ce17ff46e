"""Which hosts and which pages of other sites are answered."""

import subprocess
import sys
from itertools import product

import pytest
from django.test import Client as Http
from pytest_django import Settings

from clients.models import Client
from tests.live import ROOT

LET_IN = 422  # a malformed body, which tells "let in" from "kept out"


@pytest.fixture
def known(settings: Settings) -> list[str]:
    settings.ALLOWED_HOSTS = ["localhost", "sandbox-executor-manager"]
    return list(settings.ALLOWED_HOSTS)


def allowed_hosts(**environment: str) -> list[str]:
    """The allow-list that a process with this environment has."""
    program = "from sandbox_platform import settings; print(*settings.ALLOWED_HOSTS)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_the_names_of_the_machine_are_known_and_no_others() -> None:
    found = allowed_hosts(SANDBOX_NODE="my-host", SANDBOX_WEB_CONTAINER="web-of-mine")
    assert {"localhost", "127.0.0.1", "[::1]", "sandbox-executor-manager", "my-host", "web-of-mine"} <= set(found)
    assert "*" not in found


def test_the_operator_s_names_are_added() -> None:
    assert {"localhost", "192.0.2.7"} <= set(allowed_hosts(DJANGO_ALLOWED_HOSTS="192.0.2.7"))


@pytest.mark.parametrize(("bound", "added"), [("192.0.2.7", True), ("0.0.0.0", False), ("::", False)])
def test_the_address_that_is_listened_on_is_known(bound: str, added: bool) -> None:
    assert (bound in allowed_hosts(SANDBOX_EXECUTOR_MANAGER_BIND=bound)) == added


@pytest.mark.parametrize(
    ("path", "host"),
    [
        *product(
            ["/run", "/api/v1/runtimes", "/admin/", "/", "/static/x.js"],
            ["rebound.example", "192.0.2.7:9385", "localhost.rebound.example", ""],
        ),
        *product(["/healthz", "/readyz"], ["rebound.example", "1.2.3.4.rebound.example:9385", "127.1"]),
    ],
)
def test_another_host_is_refused_with_the_remedy(client: Http, known: list[str], path: str, host: str) -> None:
    answer = client.get(path, headers={"Host": host})
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert answer.json()["field"] == "Host"
    assert "DJANGO_ALLOWED_HOSTS" in answer.json()["remedy"]


@pytest.mark.parametrize("host", ["192.0.2.7", "192.0.2.7:9385", "[2001:db8::1]:9385", ""])
def test_a_probe_by_address_is_answered(client: Http, known: list[str], db: None, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).json() == {"status": "ok"}
    assert client.get("/readyz", headers={"Host": host}).json()["status"] == "not ready"


@pytest.mark.parametrize("host", ["localhost:9385", "sandbox-executor-manager:9385"])
def test_a_known_host_is_answered(client: Http, known: list[str], host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.fixture
def opened(settings: Settings, db: None) -> None:
    settings.RAGFLOW_ALLOW_UNAUTHENTICATED = True


def post(http: Http, origin: str | None, **headers: str) -> int:
    named = {} if origin is None else {"Origin": origin}
    return http.post("/run", data="{}", content_type="text/plain", headers=named | headers).status_code


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://testserver.evil.example", "http://testserver:81"]
)
def test_an_open_platform_takes_nothing_from_pages_of_others(client: Http, opened: None, origin: str) -> None:
    assert post(client, origin) == 403


@pytest.mark.parametrize("origin", [None, "http://testserver"])
def test_an_open_platform_takes_callers_without_a_page_and_its_own_pages(
    client: Http, opened: None, origin: str | None
) -> None:
    assert post(client, origin) == LET_IN


def test_a_trusted_origin_is_taken(client: Http, opened: None, settings: Settings) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://sandbox.example"]
    assert post(client, "https://sandbox.example") == LET_IN


def test_a_token_says_enough(client: Http, client_with_token: tuple[Client, str]) -> None:
    assert post(client, "https://evil.example", Authorization=f"Bearer {client_with_token[1]}") == LET_IN
