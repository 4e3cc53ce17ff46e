"""The examples of agent frameworks run as they stand, with the real packages and a stand-in for the model."""

import subprocess
from pathlib import Path

import pytest

from tests import frameworks
from tests.clients_python.conftest import environment
from tests.examples.model import Model
from tests.live import ROOT, TOKEN, Platform

pytestmark = pytest.mark.needs_docker
# With what each of them takes for a model's name.
EXAMPLES = {
    "with_openai": "gpt-4o",
    "with_langchain": "openai:gpt-4o",
    "with_smolagents": "gpt-4o",
    "with_llamaindex": "gpt-4o",
}
CALLS = "SELECT code, status FROM executions_execution ORDER BY id DESC LIMIT 2"


def test_every_example_is_tried() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("with_*.py")} == set(EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_model_s_programs_run_and_it_reads_their_output(
    platform: Platform, tmp_path: Path, example: str
) -> None:
    programs = (f"1 / 0  # {example}", f"print(6 * 1000003)  # {example}")
    with Model(*programs).serving() as model:
        env = environment(
            tmp_path,
            SANDBOX_URL=platform.url,
            SANDBOX_TOKEN=TOKEN,
            OPENAI_BASE_URL=model.url,
            OPENAI_API_KEY="none",
        )
        command = [frameworks.python(), ROOT / f"examples/{example}.py", EXAMPLES[example], "How many?"]
        done = subprocess.run(
            command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
    assert done.returncode == 0, done.stderr
    assert "6000018" in done.stdout
    (offered,) = (it["function"] for it in model.asked[0]["tools"] if it["function"]["name"] == "run_python")
    assert "fresh sandbox" in offered["description"]
    assert list(offered["parameters"]["properties"]) == ["code"]
    # A program that fails is a result that the model can read.
    assert "ZeroDivisionError" in str(model.asked[1]["messages"][-1])
    rows = [(row["code"], row["status"]) for row in platform.sql(CALLS)]
    assert rows == [(programs[1], "succeeded"), (programs[0], "failed")]
