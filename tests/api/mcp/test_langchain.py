"""LangChain's adapter for MCP drives a run: with version 1 of the SDK, which its own environment has."""

import json
import subprocess
from pathlib import Path

import pytest

from scripts.setup.host import ROOT
from scripts.setup.python_env import LANGCHAIN, synchronise
from tests.live import TOKEN, Platform

pytestmark = pytest.mark.needs_docker
ENVIRONMENT = ROOT / ".setup/langchain"
PROGRAM = Path(__file__).parent / "langchain/drive.py"


@pytest.fixture(scope="module")
def python() -> Path:
    ENVIRONMENT.parent.mkdir(exist_ok=True)
    synchronise(ENVIRONMENT, LANGCHAIN)
    return ENVIRONMENT / "bin/python"


def test_tools_of_an_agent_run_a_program(platform: Platform, python: Path) -> None:
    command = [python, PROGRAM, f"{platform.url}/mcp", TOKEN]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["tools"] == ["get_run", "list_runtimes", "run_code", "search_runs"]
    assert json.loads(said["text"])["stdout"] == said["structured"]["stdout"] == "45\n"
