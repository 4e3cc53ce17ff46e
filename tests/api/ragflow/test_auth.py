"""Who may call POST /run. A malformed body tells "let in" (422) from "kept out" without running anything."""

import base64
import os
import subprocess
import sys
from datetime import timedelta

import pytest
from django.test import Client as Http
from django.utils import timezone

from clients.models import Client, Token
from tests.conftest import TOKEN
from tests.live import ROOT
from tests.live import TOKEN as LIVE_TOKEN

LET_IN = 422


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def call(http: Http, **headers: str) -> int:
    return http.post("/run", data="{}", content_type="application/json", headers=headers).status_code


WAYS = [
    {"Authorization": f"Bearer {TOKEN}"},
    {"Authorization": f"bearer {TOKEN}"},
    {"X-Sandbox-Token": TOKEN},
    {"Authorization": basic("ragflow", TOKEN)},
    {"Authorization": basic("", TOKEN)},
]


@pytest.mark.parametrize("headers", WAYS)
def test_token_is_taken(client: Http, client_with_token, headers):
    assert call(client, **headers) == LET_IN


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Token {TOKEN}"},
        {"Authorization": TOKEN},
        {"X-Sandbox-Token": "wrong"},
        {"X-Sandbox-Token": TOKEN[:-1]},
        {"Authorization": basic("ragflow", "wrong")},
        {"Authorization": basic(TOKEN, "")},
        {"Authorization": "Basic not-base64!"},
        {"Authorization": "Basic /w=="},
    ],
)
def test_wrong_or_missing_token_is_401(client: Http, client_with_token, headers):
    assert call(client, **headers) == 401


def test_refusal_names_the_scheme(client: Http, client_with_token):
    answer = client.post("/run")
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert "token" in answer.json()["detail"]


def test_disabled_client_is_401(client: Http, client_with_token):
    Client.objects.create_with_token("another")
    Client.objects.filter(name="ragflow").update(enabled=False)
    assert call(client, **WAYS[0]) == 401


def test_disabled_client_is_told_so(client: Http, client_with_token):
    Client.objects.update(enabled=False)
    assert "disabled" in client.post("/run", headers=WAYS[0]).json()["detail"]


def test_revoked_token_is_401_and_told_so(client: Http, client_with_token):
    Token.objects.get().revoke()
    answer = client.post("/run", headers=WAYS[0])
    assert (answer.status_code, "revoked" in answer.json()["detail"]) == (401, True)


def test_expired_token_is_401_and_told_so(client: Http, client_with_token):
    Token.objects.update(expires_at=timezone.now())
    answer = client.post("/run", headers=WAYS[0])
    assert (answer.status_code, "expired" in answer.json()["detail"]) == (401, True)


def test_token_is_taken_until_it_expires(client: Http, client_with_token):
    Token.objects.update(expires_at=timezone.now() + timedelta(minutes=1))
    assert call(client, **WAYS[0]) == LET_IN


def test_both_tokens_are_taken_while_they_overlap(client: Http, client_with_token):
    _, new = Token.objects.rotate(client_with_token[0], overlap=timedelta(hours=1))
    assert call(client, Authorization=f"Bearer {TOKEN}") == call(client, Authorization=f"Bearer {new}") == LET_IN


def test_authentication_takes_one_query(client: Http, client_with_token, django_assert_num_queries):
    Token.objects.update(last_used_at=timezone.now())
    with django_assert_num_queries(1):
        call(client, **WAYS[0])


def test_refused_token_is_refused_by_an_open_platform_too(client: Http, client_with_token, settings):
    settings.RAGFLOW_ALLOW_UNAUTHENTICATED = True
    Token.objects.get().revoke()
    assert call(client, **WAYS[0]) == 401


def test_without_any_usable_token_nobody_is_let_in(client: Http, client_with_token):
    Token.objects.get().revoke()
    assert call(client) == 503


@pytest.mark.django_db
def test_without_any_client_nobody_is_let_in(client: Http):
    answer = client.post("/run", headers=WAYS[0])
    assert answer.status_code == 503
    assert "SANDBOX_EXECUTOR_MANAGER_API_TOKEN" in answer.json()["detail"]


@pytest.mark.django_db
def test_open_platform_takes_anybody(client: Http, settings):
    settings.RAGFLOW_ALLOW_UNAUTHENTICATED = True
    assert call(client) == LET_IN


def test_open_platform_still_knows_its_clients(client: Http, client_with_token, settings):
    settings.RAGFLOW_ALLOW_UNAUTHENTICATED = True
    assert call(client, **WAYS[0]) == LET_IN


@pytest.mark.parametrize("path", ["/", "/healthz", "/docs", "/openapi.json"])
@pytest.mark.django_db
def test_health_and_docs_need_no_token(client: Http, path):
    assert client.get(path).status_code == 200


def start_of(*command: str, **environment: str) -> str:
    """What `manage.py` says at its start; worker, keeper and migrations go through the same checks."""
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_start_logs_that_the_platform_is_open():
    said = start_of("check", SANDBOX_EXECUTOR_MANAGER_ALLOW_UNAUTHENTICATED="true")
    assert "SANDBOX_EXECUTOR_MANAGER_ALLOW_UNAUTHENTICATED" in said


def test_start_of_a_closed_platform_says_nothing_of_it():
    said = start_of("check", SANDBOX_EXECUTOR_MANAGER_ALLOW_UNAUTHENTICATED="false")
    assert "UNAUTHENTICATED" not in said


def test_a_typing_error_does_not_open_the_platform():
    said = start_of("check", SANDBOX_EXECUTOR_MANAGER_ALLOW_UNAUTHENTICATED="ture")
    assert "ImproperlyConfigured" in said


@pytest.mark.needs_docker
@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {LIVE_TOKEN}"},
        {"Authorization": "", "X-Sandbox-Token": LIVE_TOKEN},
        {"Authorization": basic("ragflow", LIVE_TOKEN)},
    ],
)
def test_running_platform_takes_the_token_of_the_environment(platform, headers):
    answer = platform.post({"code_b64": "ZGVmIG1haW4oKTogcmV0dXJuIDE="}, **headers)
    assert answer.json()["result"]["value"] == 1


@pytest.mark.needs_docker
def test_running_platform_refuses_a_wrong_token(platform):
    assert platform.post({"code_b64": ""}, Authorization="Bearer wrong").status_code == 401
