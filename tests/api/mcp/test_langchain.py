"""LangChain's adapter for MCP drives runs, over HTTP and through `sandbox mcp`: with version 1 of the SDK."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import frameworks
from tests.clients_python.conftest import environment
from tests.live import TOKEN, Platform

pytestmark = pytest.mark.needs_docker
PROGRAM = Path(__file__).parent / "langchain/drive.py"


def test_tools_of_an_agent_run_a_program(platform: Platform, tmp_path: Path) -> None:
    servers = {
        "http": {
            "transport": "streamable_http",
            "url": f"{platform.url}/mcp",
            "headers": {"Authorization": f"Bearer {TOKEN}"},
        },
        "stdio": {
            "transport": "stdio",
            "command": sys.executable,
            "args": ["-m", "sandbox_client.cli", "mcp"],
            "env": environment(tmp_path, SANDBOX_URL=platform.url, SANDBOX_TOKEN=TOKEN),
        },
    }
    command = [frameworks.python(), PROGRAM, json.dumps(servers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert list(said) == ["http", "stdio"]
    for found in said.values():
        assert found["tools"] == ["get_run", "list_runtimes", "run_code", "search_runs"]
        assert json.loads(found["text"])["stdout"] == found["structured"]["stdout"] == "45\n"
