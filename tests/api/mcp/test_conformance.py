"""The protocol's own conformance suite and inspector, from npm, against the running platform."""

import http.client
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from scripts.setup.host import ROOT, must
from tests.live import TOKEN, Platform

pytestmark = pytest.mark.needs_docker
SOURCE = Path(__file__).parent / "npm"
TARGET = ROOT / ".tools/mcp"
BIN = TARGET / "node_modules/.bin"


@pytest.fixture(scope="module")
def programs() -> Path:
    lock = (SOURCE / "package-lock.json").read_bytes()
    kept = TARGET / "package-lock.json"
    if not (BIN.is_dir() and kept.is_file() and kept.read_bytes() == lock):
        shutil.rmtree(TARGET, ignore_errors=True)
        TARGET.mkdir(parents=True)
        shutil.copy(SOURCE / "package.json", TARGET)
        shutil.copy(SOURCE / "package-lock.json", TARGET)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        must(command, cwd=TARGET, timeout=600, check="npm packages of tests/api/mcp/npm", fix="rm -rf .tools/mcp")
    return BIN


@pytest.fixture(scope="module")
def address(platform: Platform) -> Iterator[str]:
    """Where the platform is found by programs that have no token: this adds it, and leaves all else as it is."""
    upstream = urlsplit(platform.url)

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            connection = http.client.HTTPConnection(str(upstream.hostname), upstream.port, timeout=90)
            headers = dict(self.headers) | {"Authorization": f"Bearer {TOKEN}"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.end_headers()
            while piece := answer.read1():
                self.wfile.write(piece)
            connection.close()

        do_GET = do_POST = do_DELETE = forward

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/mcp"
        server.shutdown()


def call(*command: str | Path, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


# Scenarios that need tools, resources or prompts of a server that was made for them.
NOT_OURS: dict[str, list[str]] = {"2025-11-25": [], "2026-07-28": []}


@pytest.mark.parametrize("revision", NOT_OURS)
def test_conformance(programs: Path, address: str, tmp_path: Path, revision: str) -> None:
    expected = tmp_path / "expected.yml"
    expected.write_text("server:\n" + "".join(f"  - {name}\n" for name in NOT_OURS[revision]))
    command = [programs / "conformance", "server", "--url", address, "--suite", "all"]
    command += ["--spec-version", revision, "--expected-failures", expected]
    done = call(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_inspector_calls_a_tool(programs: Path, platform: Platform, tmp_path: Path) -> None:
    inspector = [programs / "mcp-inspector", "--cli", f"{platform.url}/mcp", "--transport", "http"]
    inspector += ["--header", f"Authorization: Bearer {TOKEN}"]
    listed = call(*inspector, "--method", "tools/list", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    names = [tool["name"] for tool in json.loads(listed.stdout)["tools"]]
    assert names == ["run_code", "list_runtimes", "get_run", "search_runs"]
    arguments = ["--tool-arg", "language=python", "--tool-arg", "code=print(6 * 7)"]
    called = call(*inspector, "--method", "tools/call", "--tool-name", "run_code", *arguments, cwd=tmp_path)
    assert called.returncode == 0, called.stderr
    assert json.loads(called.stdout)["structuredContent"]["stdout"] == "42\n"
