"""The envelope: revisions, headers, who may call, and what is no message."""

import json
from typing import Any

import pytest
from django.db import OperationalError
from rest_framework.test import APIClient

from api.mcp import tools
from sandbox_platform.kit.web import refusals as web_refusals
from tests.api.mcp.conftest import BEFORE, META, NOW, Mcp
from tests.conftest import TOKEN
from usage import refusals

pytestmark = pytest.mark.django_db
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
HELLO = {"capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}


def test_newest_revision_needs_no_handshake(modern: Mcp) -> None:
    found = modern.result("server/discover")
    assert (found["supportedVersions"][:2], found["resultType"]) == ([NOW, BEFORE], "complete")
    assert found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "sandbox-platform"


@pytest.mark.parametrize(
    ("wanted", "agreed"), [(BEFORE, BEFORE), ("2025-06-18", "2025-06-18"), ("2024-11-05", BEFORE)]
)
def test_revision_is_negotiated(older: Mcp, wanted: str, agreed: str) -> None:
    answer = older.request("initialize", protocolVersion=wanted, **HELLO)
    assert answer.json()["result"]["protocolVersion"] == agreed
    assert answer["Mcp-Session-Id"]


def test_notification_is_taken_without_an_answer(mcp: Mcp) -> None:
    answer = mcp.notify("notifications/initialized")
    assert (answer.status_code, answer.content) == (202, b"")


def test_ping_is_of_the_older_revisions(older: Mcp, modern: Mcp) -> None:
    assert older.result("ping") == {}
    assert modern.error("ping") == (404, -32601)


def test_unknown_method(older: Mcp, modern: Mcp) -> None:
    assert older.error("prompts/list") == (200, -32601)
    assert modern.error("prompts/list") == (404, -32601)


def test_parameters_of_another_shape(older: Mcp, modern: Mcp) -> None:
    assert older.error("tools/call", name=3) == (200, -32602)
    assert modern.error("tools/call", name="run_code", arguments=[]) == (400, -32602)


def test_unknown_tool(mcp: Mcp) -> None:
    assert mcp.error("tools/call", name="rm")[1] == -32602


@pytest.mark.parametrize(
    "headers",
    [{"Mcp-Method": "tools/call"}, {"Mcp-Method": ""}, {"MCP-Protocol-Version": BEFORE + "x"}],
)
def test_header_that_differs_from_the_body_is_refused(modern: Mcp, headers: dict[str, str]) -> None:
    answer = modern.request("tools/list", headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in (-32020, -32022)


def test_name_in_the_header_may_be_encoded(modern: Mcp) -> None:
    answer = modern.request(
        "tools/call", headers={"Mcp-Name": "=?base64?bGlzdF9ydW50aW1lcw==?="}, name="list_runtimes"
    )
    assert "result" in answer.json()
    other = modern.request("tools/call", headers={"Mcp-Name": "get_run"}, name="list_runtimes")
    assert (other.status_code, other.json()["error"]["code"]) == (400, -32020)


def test_newest_body_without_its_headers_is_refused(modern: Mcp) -> None:
    answer = modern.post(LIST | {"params": {"_meta": META}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


def test_a_refused_message_is_named_by_its_id(modern: Mcp) -> None:
    answer = modern.request("tools/list", {"Mcp-Method": "ping"})
    assert (answer.status_code, answer.json()["id"]) == (400, modern.number)
    answer = modern.post({"id": "x", "method": "tools/list"})
    assert (answer.status_code, answer.json()["id"]) == (400, "x")


def test_newest_revision_has_no_handshake(modern: Mcp) -> None:
    assert modern.error("initialize", protocolVersion=BEFORE) == (404, -32601)


def test_whole_number_is_an_id_however_it_is_written(older: Mcp) -> None:
    assert older.post(LIST | {"id": -3.0}).json()["id"] == -3


@pytest.mark.parametrize("token", ["x" * 201, 2**53 + 1, 1.5, True])
def test_progress_token_is_bounded_like_an_id(mcp: Mcp, token: Any) -> None:
    assert mcp.error("tools/call", name="list_runtimes", _meta={"progressToken": token})[1] == -32602


@pytest.mark.parametrize("token", ["x" * 200, 2**53, 0, "", 3.0, None])
def test_progress_token_is_taken(mcp: Mcp, token: Any) -> None:
    assert mcp.result("tools/call", name="list_runtimes", _meta={"progressToken": token})["content"]


def test_header_of_an_old_revision_is_taken(older: Mcp) -> None:
    assert "result" in older.post(LIST, MCP_Protocol_Version="2025-03-26").json()


def test_unsupported_revision_names_the_supported(modern: Mcp) -> None:
    answer = modern.post(LIST, MCP_Protocol_Version="1900-01-01")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["data"]["supported"][0]) == (400, -32022, NOW)


NO_MESSAGES = [
    b"", b"{", b"null", b"3", b'"x"', b"[]", json.dumps([LIST]).encode(), b'{"jsonrpc": "2.0"}', b"\xff\xfe",
    json.dumps(LIST | {"id": None}).encode(), json.dumps(LIST | {"id": 1.5}).encode(),
    json.dumps(LIST | {"id": True}).encode(), json.dumps(LIST | {"id": 2**53 + 1}).encode(),
    json.dumps(LIST | {"id": [1]}).encode(),
    json.dumps(LIST | {"id": "x" * 201}).encode(), json.dumps(LIST | {"params": []}).encode(),
    json.dumps(LIST | {"method": 1}).encode(), json.dumps(LIST | {"jsonrpc": "1.0"}).encode(), b"[" * 5000, b"NaN",
    b'{"jsonrpc": "2.0", "id": 1, "result": {}}',
]  # fmt: skip


@pytest.mark.parametrize("body", NO_MESSAGES)
def test_what_is_no_message_is_refused(modern: Mcp, body: bytes) -> None:
    answer = modern.post(body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in (-32700, -32600)


def test_body_that_is_no_json_by_its_type(modern: Mcp) -> None:
    answer = modern.http.post("/mcp", json.dumps(LIST), content_type="text/plain")
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, -32600)


def test_large_body_is_refused(modern: Mcp, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 30
    assert modern.post(LIST).status_code == 413


@pytest.mark.parametrize("method", ["get", "delete", "put"])
def test_only_post(modern: Mcp, method: str) -> None:
    answer = getattr(modern.http, method)("/mcp")
    assert (answer.status_code, answer["Allow"]) == (405, "POST, OPTIONS")


def test_without_a_token(nobody: APIClient) -> None:
    answer = nobody.post("/mcp", json.dumps(LIST), content_type="application/json")
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Bearer realm="sandbox"')
    assert answer.json()["error"]["message"].startswith("The API token is missing or wrong")


def test_a_wrong_token_from_a_page_of_another_site_is_a_wrong_token(modern: Mcp) -> None:
    answer = modern.post(LIST, Origin="https://evil.example", Authorization="Bearer wrong")
    assert (answer.status_code, "WWW-Authenticate" in answer.headers) == (401, True)


def test_page_of_another_site_is_refused_even_with_a_token(modern: Mcp) -> None:
    answer = modern.post(LIST, Origin="https://evil.example")
    assert (answer.status_code, answer.json()["id"]) == (403, None)
    assert modern.post(LIST, Origin="http://testserver").status_code == 200


def test_trusted_origin_may_call(modern: Mcp, settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://agents.example"]
    assert modern.post(LIST, Origin="https://agents.example").status_code == 200


def test_address_with_a_slash_is_the_same(modern: Mcp) -> None:
    answer = APIClient(headers={"Authorization": f"Bearer {TOKEN}"}).post(
        "/mcp/", json.dumps(LIST), content_type="application/json"
    )
    assert answer.json()["result"]["tools"]


def test_refused_token_is_counted(nobody: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[Any] = []
    monkeypatch.setattr(refusals, "count", lambda *args: counted.append(args))
    nobody.post("/mcp", json.dumps(LIST), content_type="application/json", headers={"Authorization": "Bearer x"})
    assert counted == [(refusals.Kind.TOKEN, None, None)]


def test_failure_of_the_service_is_an_error_of_json_rpc(modern: Mcp, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise OperationalError("away")

    monkeypatch.setattr(tools, "offered", away)
    modern.http.raise_request_exception = False
    answer = modern.request("tools/list")
    assert (answer.status_code, answer.json()["error"]["code"], answer["Retry-After"]) == (503, -32603, "5")


def test_web_server_refuses_in_the_same_form() -> None:
    head, _, body = web_refusals.answer(429, "Busy.", b"/mcp").partition(b"\r\n\r\n")
    assert b"Content-Type: application/json" in head
    assert json.loads(body)["error"] == {"code": -32000, "message": "Busy."}
