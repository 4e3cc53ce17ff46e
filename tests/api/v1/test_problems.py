"""Every error of /api/v1 is application/problem+json, and none is a 500."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client as Browser
from rest_framework.test import APIClient

from clients.models import Client
from executions.models import Execution
from tests.api.v1.conftest import API

pytestmark = pytest.mark.django_db
JSON = "application/json"
SOME_ID = "0199aaaa-0000-7000-8000-000000000000"


def refused(answer: Any, status: int) -> Any:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "field", "remedy"}
    assert problem["status"] == status
    return problem


@pytest.mark.parametrize(
    "body",
    [b"{", b"\xff", b'{"a": NaN}', b'{"a": 1e999}', b"[" * 100_000, b"9" * 5000, b'"\x01"', b"nul"],
)
def test_body_that_is_no_json_is_400(api: APIClient, body: bytes) -> None:
    refused(api.post(f"{API}/executions", body, content_type=JSON), 400)


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"x"', b"true"])
def test_body_that_is_no_object_is_422(api: APIClient, body: bytes) -> None:
    refused(api.post(f"{API}/executions", body, content_type=JSON), 422)


def test_empty_body_is_422(api: APIClient) -> None:
    assert refused(api.post(f"{API}/executions", b"", content_type=JSON), 422)["field"] == "runtime"


def test_other_media_type_is_415(api: APIClient) -> None:
    refused(api.post(f"{API}/executions", b"x", content_type="text/plain"), 415)


def test_broken_form_is_400(api: APIClient) -> None:
    refused(api.post(f"{API}/executions", b"x", content_type="multipart/form-data"), 400)


def test_form_whose_part_is_no_json_is_400(api: APIClient) -> None:
    refused(api.post(f"{API}/executions", {"execution": "{"}, format="multipart"), 400)


def test_too_large_a_body_is_413(api: APIClient, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    refused(api.post(f"{API}/executions", b'{"code": "12345"}', content_type=JSON), 413)


def test_too_large_a_form_is_413(api: APIClient, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    refused(api.post(f"{API}/executions", {"execution": "{}"}, format="multipart"), 413)


@pytest.mark.parametrize(
    "path",
    ["", "/", "/nothing", "/executions/", "/executions/x", f"/executions/{SOME_ID}", "/runtimes/nothing", "/%00"]
    + [f"/executions/{SOME_ID}/artifacts", f"/executions/{SOME_ID}/artifacts/a", f"/batches/{SOME_ID}"],
)
def test_what_is_not_there_is_404(api: APIClient, path: str) -> None:
    refused(api.get(f"{API}{path}"), 404)


def test_wrong_method_is_405(api: APIClient) -> None:
    refused(api.delete(f"{API}/executions"), 405)


def test_wrong_token_is_401(api: APIClient, client: Browser) -> None:
    answer = client.get(f"{API}/executions", headers={"Authorization": "Bearer wrong"})
    refused(answer, 401)
    assert "Bearer" in answer["WWW-Authenticate"]


def test_platform_without_clients_is_503(db: None, client: Browser) -> None:
    refused(client.get(f"{API}/executions"), 503)


def test_accept_header_does_not_matter(api: APIClient) -> None:
    assert api.get(f"{API}/executions", headers={"Accept": "text/html"})["Content-Type"] == JSON


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=101", "limit=x", "limit=9999999999999999999999", "cursor=x", "cursor=%00",
        "cursor=bnVsbA", "cursor=W1tbW1s", "cursor=" + "a" * 501, "ordering=id", "fields=nothing", "status=x",
        "status=", "label=x",
        "label=a:1&label=a:2", "label=%00:x", "queued_after=x", "runtime=%00", "batch=x", "nothing=1",
        "queued_after=0001-01-01T00:00:00%2B23:59", "min_duration_ms=-1", "min_memory_bytes=1e400", "q=%00",
    ],
)  # fmt: skip
def test_wrong_parameter_is_422(api: APIClient, query: str) -> None:
    assert refused(api.get(f"{API}/executions?{query}"), 422)["field"]


@pytest.mark.parametrize(
    "query",
    [
        "q=%F0%9F%98%80",
        "q=",
        "fields=",
        "q=%22a",
        "q=-",
        "q=%27",
        "label=a:%27",
        "min_duration_ms=9007199254740991",
    ],
)
def test_odd_parameter_is_no_error(api: APIClient, query: str) -> None:
    assert api.get(f"{API}/executions?{query}").status_code == 200


@pytest.mark.parametrize("wait", ["-1", "x", "nan", "inf", "3601", "1e400"])
def test_wrong_wait_is_422(api: APIClient, mine: Callable[..., Execution], wait: str) -> None:
    refused(api.get(f"{API}/executions/{mine().pk}?wait={wait}"), 422)


def test_artifact_with_nul_in_its_name_is_404(api: APIClient, mine: Callable[..., Execution]) -> None:
    refused(api.get(f"{API}/executions/{mine().pk}/artifacts/a%00"), 404)


def test_ragflows_endpoint_keeps_its_own_errors(client: Browser, client_with_token: tuple[Client, str]) -> None:
    assert client.post("/run", b"", content_type=JSON).json() == {"detail": "The API token is missing or wrong."}
