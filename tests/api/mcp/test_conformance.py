"""The protocol's own conformance suite, from npm, against the running platform, in both revisions."""

import contextlib
import http.client
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from scripts.setup.host import ROOT, must, parse_version, run
from tests.live import TOKEN, Platform

pytestmark = pytest.mark.needs_docker
SOURCE = Path(__file__).parent / "npm"
TARGET = ROOT / ".tools/mcp"
SUITE = TARGET / "node_modules/@modelcontextprotocol/conformance/dist/index.js"


@pytest.fixture(scope="module")
def suite() -> Path:
    lock = (SOURCE / "package-lock.json").read_bytes()
    kept = TARGET / "package-lock.json"
    if not (SUITE.is_file() and kept.is_file() and kept.read_bytes() == lock):
        shutil.rmtree(TARGET, ignore_errors=True)
        TARGET.mkdir(parents=True)
        shutil.copy(SOURCE / "package.json", TARGET)
        shutil.copy(SOURCE / "package-lock.json", TARGET)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        must(command, cwd=TARGET, timeout=600, check="npm packages of tests/api/mcp/npm", fix="rm -rf .tools/mcp")
    return SUITE


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
            # A client may close the connection at any time, and the platform must learn of it.
            with contextlib.closing(connection), contextlib.suppress(ConnectionError):
                while piece := answer.read1():
                    self.wfile.write(piece)

        do_GET = do_POST = do_DELETE = forward

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/mcp"
        server.shutdown()


# Scenarios about what this server does not have. Most need tools, resources or prompts of a server made for them.
MADE_FOR_THEM = """
completion-complete tools-call-simple-text tools-call-image tools-call-audio tools-call-embedded-resource
tools-call-mixed-content tools-call-error tools-call-with-progress json-schema-2020-12 resources-read-text
resources-read-binary resources-templates-read prompts-list prompts-get-simple prompts-get-with-args
prompts-get-embedded-resource prompts-get-with-image
"""
NOT_OURS = {
    "2025-11-25": """
    logging-set-level tools-call-with-logging tools-call-sampling tools-call-elicitation elicitation-sep1034-defaults
    elicitation-sep1330-enums resources-subscribe resources-unsubscribe
    """,
    "2026-07-28": """
    server-stateless:sep-2575-server-rejects-undeclared-capability
    server-stateless:sep-2575-missing-capability-http-400
    server-stateless:sep-2575-http-server-no-independent-requests-on-stream
    server-stateless:sep-2575-server-no-log-without-loglevel
    caching:sep-2549-prompts-list-caching-hints
    http-custom-header-server-validation input-required-result-basic-elicitation input-required-result-basic-sampling
    input-required-result-basic-list-roots input-required-result-request-state
    input-required-result-multiple-input-requests input-required-result-multi-round
    input-required-result-non-tool-request input-required-result-result-type input-required-result-tampered-state
    input-required-result-capability-check input-required-result-missing-input-response
    input-required-result-ignore-extra-params
    """,
}


@pytest.mark.skipif(
    parse_version(run(["node", "--version"]).stdout) < (20, 6), reason="Node.js is older than 20.6"
)
@pytest.mark.parametrize("revision", NOT_OURS)
def test_conformance(suite: Path, address: str, tmp_path: Path, revision: str) -> None:
    """What is expected to fail must fail: the suite tells of an entry that passes, too."""
    expected = tmp_path / "expected.yml"
    names = f"{MADE_FOR_THEM} {NOT_OURS[revision]}".split()
    expected.write_text("server:\n" + "".join(f"  - {name}\n" for name in names))
    command = ["node", "--import", SOURCE / "node20.mjs", suite, "server", "--url", address, "--suite", "all"]
    command += ["--spec-version", revision, "--expected-failures", expected]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\u2713 tools-list: 2 passed" in done.stdout
