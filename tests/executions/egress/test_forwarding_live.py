"""Gateway and doors as two processes, of which only the gateway has a database."""

import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from executions.egress.gateway import UNAVAILABLE
from sandboxes import doors
from tests.executions.egress import linking
from tests.executions.egress.linking import ANSWER, NODE, REQUEST, SECRET, MakeSandbox
from tests.live import READY_S, ROOT, eventually

running_sandbox = linking.running_sandbox


class Answering(socketserver.StreamRequestHandler):
    """Stands for the proxy: answers each request on a connection until its end."""

    def handle(self) -> None:
        self.rfile.readline()
        while self.rfile.readline().strip():
            self.rfile.readline()
            self.wfile.write(ANSWER)


class Processes:
    def __init__(self, folder: Path, environment: dict[str, str], of_gateway: dict[str, str]) -> None:
        self._folder = folder
        self.of_gateway = of_gateway
        given = {
            name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "DJANGO_"))
        }
        self._environment = given | environment
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, command: str, until: str, **more: str) -> None:
        with (self._folder / f"{command}.log").open("wb") as log:
            self.running[command] = subprocess.Popen(
                [sys.executable, "manage.py", command],
                cwd=ROOT, env=self._environment | more, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        eventually(lambda: until in self.log(command), f"{command} is up", READY_S)

    def log(self, command: str) -> str:
        return (self._folder / f"{command}.log").read_text()

    def end(self, command: str, number: int) -> int:
        process = self.running.pop(command)
        process.send_signal(number)
        return process.wait(20)

    def printed(self, command: str, **more: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", command],
            cwd=ROOT, env=self._environment | more, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip()


@pytest.fixture
def proxy() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answering) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def processes(settings: Settings, tmp_path: Path, proxy: str, database_url: str) -> Iterator[Processes]:
    linking.set_up(settings, tmp_path / "doors")
    environment = {"SANDBOX_NODE": NODE, "SANDBOX_EGRESS_DIR": str(settings.SANDBOX_EGRESS_DIR)}
    of_gateway = {
        "DATABASE_URL": database_url,
        "SANDBOX_NODE": "the-gateway-s-pod",
        "SANDBOX_EGRESS_DIR": str(tmp_path / "none"),
        "SANDBOX_EGRESS_PROXY": proxy,
        "SANDBOX_EGRESS_LISTEN": settings.SANDBOX_EGRESS_LISTEN,
        "SANDBOX_EGRESS_NODES_LISTEN": settings.SANDBOX_EGRESS_NODES_LISTEN,
        "SANDBOX_EGRESS_NODES_SECRET": SECRET,
    }
    it = Processes(tmp_path, environment, of_gateway)
    yield it
    for process in it.running.values():
        process.kill()
        process.wait()


def knock(sandbox_id: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(str(doors.root() / str(sandbox_id) / doors.SOCKET))
    return sock


def got(sandbox_id: int) -> bytes:
    with knock(sandbox_id) as sock:
        sock.sendall(REQUEST)
        return sock.recv(1000)


def test_doors_outlast_a_gateway_that_is_killed(processes: Processes, running_sandbox: MakeSandbox) -> None:
    sandbox, _ = running_sandbox()
    key = processes.printed("egress_node_key", SANDBOX_EGRESS_NODES_SECRET=SECRET)
    remote = processes.of_gateway["SANDBOX_EGRESS_NODES_LISTEN"]
    # This process has no database: the address is nobody's.
    without = {"DATABASE_URL": "postgres://nobody@127.0.0.1:9/none"}
    processes.start(
        "egress_doors", "doors in", SANDBOX_EGRESS_REMOTE=remote, SANDBOX_EGRESS_NODE_KEY=key, **without
    )
    doors.make(sandbox)
    assert got(sandbox) == UNAVAILABLE

    processes.start("egress", "listening for nodes", **processes.of_gateway)
    assert got(sandbox) == ANSWER
    with knock(sandbox) as held:
        held.sendall(REQUEST)
        assert held.recv(1000) == ANSWER
        processes.end("egress", signal.SIGKILL)
        assert held.recv(1000) == b""
    assert got(sandbox) == UNAVAILABLE

    processes.start("egress", "listening for nodes", **processes.of_gateway)
    with knock(sandbox) as held:
        held.sendall(REQUEST)
        assert held.recv(1000) == ANSWER
        # Both end though a connection is open.
        assert processes.end("egress", signal.SIGTERM) == 0
        assert processes.end("egress_doors", signal.SIGTERM) == 0
    assert "Traceback" not in processes.log("egress") + processes.log("egress_doors")
