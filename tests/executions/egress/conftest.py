"""A platform with egress, and an internet of one server: a container on a network of its own."""

import contextlib
import json
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import requests

from scripts.setup import secret_files
from tests.live import READY_S, TOKEN, Platform, eventually, free_port
from tests.sandbox_platform.kit.test_tracing import Receiver

ALLOWED, SUB, OTHER = "allowed.example.test", "deep.sub.example.test", "other.example.test"
# Names that the proxy takes for addresses where nothing may get to; all of them are on the allow-list.
INSIDE = {
    "private.inside.test": "10.1.2.3",
    "shared.inside.test": "100.64.0.1",
    "metadata.inside.test": "169.254.169.254",
    "loopback.inside.test": "127.0.0.1",
    "any.inside.test": "0.0.0.0",
    "multicast.inside.test": "224.0.0.1",
    "mapped.inside.test": "::ffff:10.1.2.3",
    "local6.inside.test": "fd00::1",
    "loopback6.inside.test": "::1",
    "relay6.inside.test": "64:ff9b::a01:203",
}
MOST = 100  # requests of one run
MOST_MIB = 8  # of one run's bytes
SERVER = """
import http.server, json, os, ssl, threading
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kept = []
    def do_GET(self):
        size = int(self.headers.get("Content-Length") or 0)
        if self.path == "/deaf":  # a server that ignores the body, and takes it for the next request
            size = 0
        got = self.rfile.read(size)
        if self.path == "/keep":
            self.kept.append(got.decode())
        kept = self.kept if self.path == "/kept" else []
        body = json.dumps({"path": self.path, "headers": dict(self.headers), "got": len(got), "kept": kept})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    do_POST = do_GET
with open("/tmp/pem", "w") as file:
    file.write(os.environ["PEM"])
secure = http.server.ThreadingHTTPServer(("", 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/tmp/pem")
secure.socket = context.wrap_socket(secure.socket, server_side=True)
threading.Thread(target=secure.serve_forever, daemon=True).start()
http.server.ThreadingHTTPServer(("", 80), Handler).serve_forever()
"""


@dataclass
class World:
    platform: Platform
    proxy: Any  # its container
    address: str  # of the internet's one server
    receiver: Receiver  # of the platform's spans

    def call(self, code: str, language: str = "python", **body: Any) -> dict[str, Any]:
        """A finished execution."""
        answer = requests.post(
            f"{self.platform.url}/api/v1/executions",
            json={"runtime": language, "code": code, "wait": 60} | body,
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=90,
        )
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def get(self, path: str) -> Any:
        url = f"{self.platform.url}/api/v1/executions/{path}"
        return requests.get(url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30).json()

    def requests_of(self, execution: dict[str, Any]) -> list[dict[str, Any]]:
        """When all of them are over, which the proxy may tell a moment after the run's own end."""

        def ended() -> Any:
            found = self.get(f"{execution['id']}/requests")
            return found if all(request["ended_at"] for request in found) else None

        return list(eventually(ended, "the proxy has told the end of every request") or [])

    def allow(self, domain: str) -> None:
        self.platform.sql(
            "INSERT INTO executions_egressrule (domain, enabled, note, created_at)"
            " VALUES (%s, true, '', now()) ON CONFLICT DO NOTHING",
            domain,
        )

    def refuse(self, domain: str) -> None:
        self.platform.sql("DELETE FROM executions_egressrule WHERE domain = %s", domain)


def certificate() -> str:
    """Key and self-signed certificate of the internet's server."""
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={ALLOWED}",
         "-addext", f"subjectAltName=DNS:{ALLOWED}", "-keyout", "-", "-out", "-"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return made.stdout


@contextlib.contextmanager
def internet(client: Any, label: dict[str, str]) -> Iterator[str]:
    """Its server's address."""
    network = client.networks.create(f"egress-test-{uuid.uuid4().hex[:8]}", driver="bridge", labels=label)
    try:
        server = client.containers.run(
            "sandbox-platform/egress:latest", ["-c", SERVER], entrypoint=["python3"], user="root",
            environment={"PEM": certificate()}, network=network.name, labels=label, detach=True,
        )  # fmt: skip
        try:
            server.reload()
            yield server.attrs["NetworkSettings"]["Networks"][network.name]["IPAddress"]
        finally:
            server.remove(force=True)
    finally:
        network.remove()


@contextlib.contextmanager
def proxy(
    client: Any, label: dict[str, str], hosts: dict[str, str], secret: Path, **environment: str
) -> Iterator[Any]:
    """As docker-compose.yml starts it, but beside the plain processes on the host's own network."""
    environment["SANDBOX_EGRESS_SECRET_FILE"] = "/run/secrets/egress"  # noqa: S105 -- a path
    container = client.containers.run(
        "sandbox-platform/egress:latest", network_mode="host", read_only=True, cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"], tmpfs={"/tmp": ""}, labels=label, detach=True,
        extra_hosts=hosts, environment=environment, volumes=[f"{secret}:/run/secrets/egress:ro"],
    )  # fmt: skip
    try:
        yield container
    finally:
        container.remove(force=True)


def secret_in(folder: Path) -> Path:
    secret_files.write({}, folder / "secrets")
    return folder / "secrets" / "egress"


@contextlib.contextmanager
def world(folder: Path, **more: str) -> Iterator[World]:
    gateway, listen = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    running = Platform(
        folder,
        SANDBOX_TIMEOUT="20s",
        SANDBOX_WORKERS="2",
        SANDBOX_EGRESS_REQUESTS=str(MOST),
        SANDBOX_EGRESS_BYTES=f"{MOST_MIB}m",
        SANDBOX_EGRESS_PROXY=listen,
        SANDBOX_EGRESS_LISTEN=gateway,
        SANDBOX_EGRESS_SECRET_FILE=str(secret_in(folder)),
        OTEL_EXPORTER_OTLP_ENDPOINT=(receiver := Receiver()).url,
        OTEL_BSP_SCHEDULE_DELAY="200",
    )
    label = {"sandbox-platform-test": running.node}
    with contextlib.ExitStack() as stack:
        stack.callback(receiver.close)
        client = stack.enter_context(contextlib.closing(docker.DockerClient.from_env()))
        address = stack.enter_context(internet(client, label))
        hosts = dict.fromkeys((ALLOWED, SUB, OTHER), address) | INSIDE
        environment = {
            "SANDBOX_EGRESS_GATEWAY": gateway,
            "SANDBOX_EGRESS_BIND": listen,
            "SANDBOX_EGRESS_NETWORKS": f"{address}/32",
        } | more
        squid = stack.enter_context(proxy(client, label, hosts, secret_in(folder), **environment))
        stack.callback(running.stop)
        running.start("python", "nodejs")
        running.spawn("egress")
        eventually(lambda: "doors in" in (folder / "egress.log").read_text(), "the gateway is up", READY_S)
        it = World(running, squid, address, receiver)
        running.change_runtime("python", network="egress")
        running.change_runtime("nodejs", network="egress")
        running.sql("UPDATE executions_client SET network = 'egress' WHERE name = 'ragflow'")
        for domain in (ALLOWED, ".sub.example.test", ".inside.test"):
            it.allow(domain)
        yield it


@pytest.fixture(scope="module")
def egress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("egress")) as it:
        yield it


def told(execution: dict[str, Any]) -> Any:
    """What a program of ours printed, as JSON."""
    assert execution["status"] == "succeeded", execution["stderr"]
    return json.loads(execution["stdout"])
