"""A caller of POST /mcp, in the revision that it is told."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from api.mcp import waiting
from clients.models import Client, Role
from executions.models import Execution
from runtimes.models import Runtime
from tests.api.conforming import ConformingClient
from tests.api.v1.conftest import nobody_listens

__all__ = ["nobody_listens"]
NOW, BEFORE = "2026-07-28", "2025-11-25"
META = {
    "io.modelcontextprotocol/protocolVersion": NOW,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}


class Mcp:
    def __init__(self, token: str, version: str = NOW) -> None:
        self.http = ConformingClient(headers={"Authorization": f"Bearer {token}"})
        self.version = version
        self.session = ""
        self.number = 0

    def headers(self, method: str, params: dict[str, Any]) -> dict[str, str]:
        headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": self.version}
        if self.session:
            headers["Mcp-Session-Id"] = self.session
        if self.version == NOW:
            headers["Mcp-Method"] = method
            if name := params.get("name") or params.get("uri"):
                headers["Mcp-Name"] = name
        return headers

    def post(self, body: Any, **headers: str) -> Any:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.http.post("/mcp", text, content_type="application/json", headers=given)

    def request(self, method: str, headers: dict[str, str] | None = None, **params: Any) -> Any:
        self.number += 1
        if self.version == NOW:
            params = {"_meta": META | params.pop("_meta", {})} | params
        body = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}
        return self.post(body, **(self.headers(method, params) | (headers or {})))

    def result(self, method: str, **params: Any) -> dict[str, Any]:
        answer = self.request(method, **params)
        assert answer.status_code == 200, answer.content
        return dict(answer.json()["result"])

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return self.result("tools/call", name=tool, arguments=arguments)

    def error(self, method: str, **params: Any) -> tuple[int, int]:
        """HTTP status and code of JSON-RPC."""
        answer = self.request(method, **params)
        return answer.status_code, answer.json()["error"]["code"]

    def notify(self, method: str, **params: Any) -> Any:
        return self.post({"jsonrpc": "2.0", "method": method, "params": params}, **self.headers(method, params))


@pytest.fixture(autouse=True)
def no_wait_for_a_cancelled_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would end the transaction of a test."""
    monkeypatch.setattr(waiting, "APPEARS_S", 0.0)


@pytest.fixture
def client_row(client_with_token: tuple[Client, str], python_runtime: Runtime) -> Client:
    return client_with_token[0]


@pytest.fixture(params=[NOW, BEFORE])
def mcp(request: pytest.FixtureRequest, client_row: Client, client_with_token: tuple[Client, str]) -> Mcp:
    """A caller in each of the two newest revisions."""
    return Mcp(client_with_token[1], request.param)


@pytest.fixture
def modern(client_row: Client, client_with_token: tuple[Client, str]) -> Mcp:
    return Mcp(client_with_token[1])


@pytest.fixture
def older(client_row: Client, client_with_token: tuple[Client, str]) -> Mcp:
    return Mcp(client_with_token[1], BEFORE)


@pytest.fixture
def auditor(client_row: Client) -> Mcp:
    return Mcp(Client.objects.create_with_token("auditor", role=Role.AUDITOR)[1])


@pytest.fixture
def stranger(client_row: Client) -> Mcp:
    return Mcp(Client.objects.create_with_token("stranger")[1])


@pytest.fixture
def mine(make_execution: Callable[..., Execution], client_row: Client) -> Callable[..., Execution]:
    def mine(**overrides: Any) -> Execution:
        return make_execution(**{"client": client_row} | overrides)

    return mine


@pytest.fixture
def nobody(client_row: Client) -> APIClient:
    return APIClient()
