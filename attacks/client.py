"""What the harness sends to a platform: over HTTP, as any client does."""

import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

TIMEOUT_S = 120.0
WAIT_S = 60
OPEN = ("queued", "running")


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any  # parsed JSON, or text
    headers: dict[str, str]


@dataclass(frozen=True)
class Served:
    """A file of an execution as the platform serves it."""

    name: str
    status: int
    content: bytes
    headers: dict[str, str]


class Client:
    """One client of a platform."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the host's environment is none of the platform's

    def send(self, method: str, path: str, body: bytes | None = None, content_type: str = "") -> Answer:
        """Send a request. Raises requests.RequestException if nobody answers."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type or "application/json"}
        answer = self._session.request(
            method, f"{self.url}{path}", data=body, headers=headers, timeout=TIMEOUT_S, allow_redirects=False
        )
        try:
            parsed = answer.json()
        except ValueError:
            parsed = answer.text
        return Answer(answer.status_code, parsed, dict(answer.headers))

    def submit(self, body: bytes, content_type: str = "") -> Answer:
        return self.send("POST", "/api/v1/executions", body, content_type)

    def ended(self, execution: str, within_s: float = TIMEOUT_S) -> dict[str, Any]:
        """Wait for the end of an execution and return it as stored. It may still be open after `within_s`."""
        deadline = time.monotonic() + within_s
        while True:
            found = self.send("GET", f"/api/v1/executions/{execution}?wait={WAIT_S}")
            if found.status != 200:
                return {"id": execution, "status": f"HTTP {found.status}", "detail": found.body}
            if found.body["status"] not in OPEN or time.monotonic() > deadline:
                return dict(found.body)
            time.sleep(0.2)  # more requests wait already than may: it was answered at once

    def until_running(self, execution: str, within_s: float = 30) -> None:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if self.send("GET", f"/api/v1/executions/{execution}").body["status"] != "queued":
                return
            time.sleep(0.05)

    def artifacts(self, execution: str) -> list[Served]:
        listed = self.send("GET", f"/api/v1/executions/{execution}/artifacts").body
        found = listed.get("results", []) if isinstance(listed, dict) else listed
        return [self._artifact(execution, item["name"]) for item in found]

    def _artifact(self, execution: str, name: str) -> Served:
        answer = self._session.get(
            f"{self.url}/api/v1/executions/{execution}/artifacts/{quote(name, safe='')}",
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=TIMEOUT_S,
        )
        return Served(name, answer.status_code, answer.content, dict(answer.headers))

    def is_listed(self, execution: str) -> bool:
        """Whether the newest page of the history, with its large fields, can be read and has the execution."""
        path = "/api/v1/executions?fields=id,status,code,stdout,stderr,result,arguments&limit=5"
        found = self.send("GET", path)
        return found.status == 200 and execution in json.dumps(found.body)

    def runtimes(self) -> dict[str, dict[str, int]]:
        """Return the limits of the runtimes that are offered, by name. Raises RuntimeError if the token is refused."""
        found = self.send("GET", "/api/v1/runtimes")
        if found.status != 200:
            raise RuntimeError(f"GET /api/v1/runtimes was answered with {found.status}: {str(found.body)[:300]}")
        listed = found.body.get("results", []) if isinstance(found.body, dict) else found.body
        return {item["slug"]: item["limits"] for item in listed if item.get("enabled", True)}

    def healthy_after_s(self) -> float:
        """Return how long /healthz took on a connection of its own; infinity if it did not answer."""
        began = time.monotonic()
        try:
            answer = requests.get(f"{self.url}/healthz", timeout=10)
        except requests.RequestException:
            return float("inf")
        return time.monotonic() - began if answer.status_code == 200 else float("inf")

    def served_after_s(self) -> float:
        """Return how long a small program took; infinity if it did not end as it must."""
        began = time.monotonic()
        body = {"runtime": "python", "code": "print(6 * 7)", "wait": 60, "labels": {"attack": "neighbour"}}
        try:
            answer = self.submit(json.dumps(body).encode())
        except requests.RequestException:
            return float("inf")
        right = answer.status in (200, 201) and answer.body.get("stdout") == "42\n"
        return time.monotonic() - began if right else float("inf")
