"""Section 1 of RAGFlow's contract: addresses and methods."""

import pytest
import requests

from tests.live import TOKEN, Platform

pytestmark = pytest.mark.needs_docker


@pytest.fixture
def ask(platform: Platform):
    def ask(method: str, path: str, **kwargs: object) -> requests.Response:
        return requests.request(method, platform.url + path, timeout=30, allow_redirects=False, **kwargs)

    return ask


@pytest.mark.parametrize("path", ["/", "/healthz"])
def test_health_is_ok(ask, path):
    answer = ask("GET", path)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/", "/healthz"])
@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE"])
def test_health_takes_only_get(ask, method, path):
    assert ask(method, path).status_code == 405


@pytest.mark.parametrize("path", ["/nothing", "/run/nothing", "/healthz/nothing"])
def test_other_addresses_are_not_found(ask, path):
    answer = ask("GET", path)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_run_takes_only_post(ask, method):
    assert ask(method, "/run", headers={"X-Sandbox-Token": TOKEN}).status_code == 405


def test_run_with_a_slash_is_redirected_with_its_body(ask):
    answer = ask("POST", "/run/", json={"code_b64": ""})
    assert (answer.status_code, answer.headers["Location"]) == (307, "/run")


def test_a_client_that_follows_the_redirect_gets_its_answer(platform):
    answer = requests.post(
        f"{platform.url}/run/",
        json={"code_b64": "ZGVmIG1haW4oKTogcmV0dXJuIDE="},
        headers={"X-Sandbox-Token": TOKEN},
        timeout=60,
    )
    assert answer.json()["result"]["value"] == 1


def test_docs_are_shown_to_anybody(ask):
    answer = ask("GET", "/docs")
    assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (200, "text/html")


def test_openapi_describes_run(ask):
    schema = ask("GET", "/openapi.json").json()
    assert {"200", "422"} <= set(schema["paths"]["/run"]["post"]["responses"])


def test_ready_is_green_while_the_platform_runs(ask):
    assert ask("GET", "/readyz").status_code == 200
