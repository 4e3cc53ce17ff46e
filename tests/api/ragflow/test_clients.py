"""Section 6 of RAGFlow's contract: what its clients make of our answers. Their rules, written down again."""

import base64
from typing import Any

import pytest
import requests

from tests.api.ragflow.programs import FAILING, Failing
from tests.live import TOKEN, Platform

pytestmark = pytest.mark.needs_docker


def what_the_tool_reports(answer: dict[str, Any]) -> tuple[Any, str | None]:
    """Value and error, as RAGFlow's CodeExec tool takes them from an answer: status and exit code do not count."""
    result = answer["result"] or {}
    if result.get("present") is True:
        return result["value"], None
    if answer["artifacts"] or answer["stdout"].strip():
        return answer["stdout"], None
    return "", answer["stderr"] or None


@pytest.mark.parametrize("program", [p for p in FAILING if p.limit or p.detail or p.name == "signal"], ids=str)
def test_tool_shows_an_error_for_every_failure(platform, short_runs, program: Failing):
    value, error = what_the_tool_reports(platform.run(program.code, program.language))
    assert value == ""
    assert error and error.strip()


def test_tool_shows_a_silent_exit_as_an_error(platform):
    _, error = what_the_tool_reports(platform.run("import posix\ndef main(): posix._exit(1)"))
    assert error and "status 1" in error


@pytest.mark.parametrize("value", ["", 0, False, None, [], {}])
def test_tool_shows_an_empty_result_as_a_result(platform, value: Any):
    answer = platform.run("def main(value): return value", arguments={"value": value})
    assert what_the_tool_reports(answer) == (value, None)


PROBE = """
def main() -> dict:
    print("TEST_PASSED")
    return {"status": "TEST_PASSED", "message": "TEST"}
"""


def test_connection_test_of_the_admin(platform):
    """GET /healthz with 5 s, then a probe: exit code 0 and a word on stdout."""
    assert requests.get(f"{platform.url}/healthz", timeout=5).status_code == 200
    answer = platform.run(PROBE)
    assert (answer["exit_code"], "TEST_PASSED" in answer["stdout"]) == (0, True)


def test_connection_test_with_the_token_in_the_address(platform):
    """RAGFlow versions without a token variable: their HTTP client turns the address into Basic."""
    address = platform.url.replace("http://", f"http://ragflow:{TOKEN}@")
    assert requests.get(f"{address}/healthz", timeout=5).status_code == 200
    body = {"code_b64": base64.b64encode(PROBE.encode()).decode(), "language": "python", "arguments": {}}
    answer = requests.post(f"{address}/run", json=body, timeout=60)
    assert "TEST_PASSED" in answer.json()["stdout"]


GO_TYPES = {
    "status": str,
    "stdout": str,
    "stderr": str,
    "exit_code": int,
    "detail": (str, type(None)),
    "time_used_ms": (int, float, type(None)),
    "memory_used_kb": (int, type(None)),
    "artifacts": list,
    "result": (dict, type(None)),
}


def decode_as_go_does(platform: Platform, code: str, language: str) -> None:
    body = {
        "code_b64": base64.b64encode(code.encode()).decode(),
        "language": language,
        "arguments": None,
        "base_image": "",
    }
    answer = platform.post(body).json()
    for key, types in GO_TYPES.items():
        assert isinstance(answer[key], types), key


@pytest.mark.parametrize(
    "code",
    [
        "def main(): return 1.5",
        "def main(): open('artifacts/a.csv', 'w').write('x')",
        "def main(): return 1 / 0",
        "(",
    ],
)
def test_go_client_can_decode_the_answer(platform, no_policy, code: str):
    decode_as_go_does(platform, code, "python")


def test_failures_of_programs_are_never_a_5xx(platform, no_policy):
    """The Go client runs the code again after a 5xx, up to three times."""
    tampering = "import json\njson.dumps = lambda *a, **k: '1e999'\ndef main(): return 1"
    assert platform.run(tampering)["status"] == "program_error"
