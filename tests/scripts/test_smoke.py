import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from api.ragflow.contract import labels_of
from scripts import smoke

GOOD = {
    "status": "success",
    "exit_code": 0,
    "stdout": "hello",
    "result": {"present": True, "value": {"sum": 42}, "type": "json"},
}


class Service(BaseHTTPRequestHandler):
    answer: dict[str, Any] = GOOD
    seen: list[dict[str, Any]] = []
    agents: set[str] = set()
    busy = 0  # answers with 503 before the others

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append({**body, "authorization": self.headers["Authorization"]})
        self.agents.add(self.headers["User-Agent"])
        status = 200 if self.headers["Authorization"] == "Bearer right" else 401
        if len(self.seen) <= self.busy:
            status = 503
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(self.answer).encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Service, "seen", [])
    server = HTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_both_languages_are_run_as_ragflow_sends_them(url: str) -> None:
    lines = smoke.check(url, "right")
    assert [line.split(" ok")[0] for line in lines] == ["python", "nodejs"]
    assert {request["language"] for request in Service.seen} == {"python", "nodejs"}
    (agent,) = Service.agents
    assert labels_of(agent) == {"caller": "smoke-test"}
    assert b"def main" in base64.b64decode(Service.seen[0]["code_b64"])


@pytest.mark.parametrize(
    "change", [{"status": "program_error"}, {"exit_code": 1}, {"result": None}, {"stdout": ""}]
)
def test_a_wrong_answer_fails_at_once(url: str, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Service, "answer", {**GOOD, **change})
    with pytest.raises(smoke.SmokeError, match=next(iter(change))):
        smoke.check(url, "right")
    assert len(Service.seen) == 1


def test_a_refused_token_is_told(url: str) -> None:
    with pytest.raises(smoke.SmokeError, match="HTTP 401"):
        smoke.check(url, "wrong")


def test_a_busy_service_is_asked_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Service, "busy", 1)
    assert len(smoke.check(url, "right")) == 2


def test_a_service_that_stays_busy_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Service, "busy", 1000)
    monkeypatch.setattr(smoke, "BUSY_SECONDS", 0)
    with pytest.raises(smoke.SmokeError, match="HTTP 503"):
        smoke.check(url, "right")


def test_no_service_is_told_after_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke, "PATIENCE_SECONDS", 0)
    with pytest.raises(smoke.SmokeError, match="no answer"):
        smoke.check("http://127.0.0.1:1", "right")
