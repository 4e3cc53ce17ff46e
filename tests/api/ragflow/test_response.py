"""Section 3 of RAGFlow's contract: what becomes of a program, and how the answer says so."""

import pytest

from tests.api.ragflow.programs import FAILING, Failing

pytestmark = pytest.mark.needs_docker

KEYS = {
    "status",
    "stdout",
    "stderr",
    "exit_code",
    "detail",
    "time_used_ms",
    "memory_used_kb",
    "resource_limit_type",
    "unauthorized_access_type",
    "runtime_error_type",
    "artifacts",
    "result",
}


@pytest.mark.parametrize("program", FAILING, ids=str)
def test_failing_program(platform, request, program: Failing):
    if program.limit == "time":
        request.getfixturevalue("short_runs")
    answer = platform.run(program.code, program.language)
    assert answer.keys() == KEYS
    assert program.stderr in answer["stderr"]
    expected = {
        "status": program.status,
        "exit_code": program.exit_code,
        "detail": program.detail,
        "resource_limit_type": program.limit,
        "unauthorized_access_type": None,
        "runtime_error_type": program.error,
        # RAGFlow's tool takes output for a result, whatever the exit status.
        "stdout": "",
        "artifacts": [],
        "result": None,
    }
    assert {key: answer[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("language", "code"),
    [
        (
            "python",
            "import warnings\ndef main(a):\n    print('hello')\n    warnings.warn('careful')\n    return [a]",
        ),
        ("nodejs", "function main({a}) { console.log('hello'); console.error('careful'); return [a]; }"),
    ],
)
def test_success(platform, language: str, code: str):
    answer = platform.run(code, language, {"a": "ä"})
    assert answer.keys() == KEYS
    assert "careful" in answer.pop("stderr")
    assert isinstance(answer.pop("time_used_ms"), float)
    assert isinstance(answer.pop("memory_used_kb"), int)
    assert answer == {
        "status": "success",
        "stdout": "hello\n",
        "exit_code": 0,
        "detail": None,
        "resource_limit_type": None,
        "unauthorized_access_type": None,
        "runtime_error_type": None,
        "artifacts": [],
        "result": {"present": True, "value": ["ä"], "type": "json"},
    }


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "def main():\n    print('bye')\n    raise SystemExit(0)"),
        ("python", "def main():\n    print('bye')\n    raise SystemExit"),
        ("nodejs", "function main() { console.log('bye'); process.exit(0); }"),
    ],
)
def test_exit_zero_without_a_result_is_a_success_without_a_result(platform, language: str, code: str):
    answer = platform.run(code, language)
    assert (answer["status"], answer["stdout"], answer["result"]) == ("success", "bye\n", None)


@pytest.mark.parametrize(
    ("language", "expression", "value"),
    [
        ("python", "None", None),
        ("python", "(1, 2)", [1, 2]),
        ("python", "{1: 'a', None: 'b'}", {"1": "a", "null": "b"}),
        ("python", "2**70", 2**70),
        ("python", "'\\x00\\u2028'", "\x00\u2028"),
        ("nodejs", "null", None),
        ("nodejs", "() => 1", None),
        ("nodejs", "{a: undefined, b: new Date(0)}", {"b": "1970-01-01T00:00:00.000Z"}),
        ("nodejs", "Promise.resolve('later')", "later"),
    ],
)
def test_value(platform, language: str, expression: str, value: object, set_columns):
    set_columns("python", ragflow_code_policy="off")  # 2**70 is refused
    code = {"python": "def main(): return {}", "nodejs": "function main() {{ return ({}); }}"}[language]
    answer = platform.run(code.format(expression), language)
    assert answer["result"] == {"present": True, "value": value, "type": "json"}, answer["stderr"]


def test_time_used_of_a_timeout_is_the_limit(platform, short_runs):
    answer = platform.run("def main():\n    while True: pass")
    assert answer["time_used_ms"] >= 1500


def test_cpu_time_limit_is_a_time_limit_too(platform, set_columns):
    set_columns("python", cpu_time_ms=300)
    answer = platform.run("def main():\n    while True: pass")
    assert (answer["status"], answer["exit_code"], answer["resource_limit_type"]) == (
        "resource_limit_exceeded",
        -124,
        "time",
    )
    assert "CPU time limit" in answer["stderr"]


def test_refusal_says_where_an_administrator_relaxes_it(platform):
    answer = platform.run("def main():\n    return eval('1')")
    assert answer["stderr"].startswith("Line 2: Call: eval\n")
    assert "Runtimes, python" in answer["stderr"]


def test_disabled_runtime_is_a_platform_answer(platform, set_columns):
    set_columns("nodejs", enabled=False)
    answer = platform.run("function main() { return 1; }", "nodejs")
    assert (answer["status"], answer["exit_code"], answer["detail"]) == (
        "program_runner_error",
        -999,
        "runtime_disabled",
    )
    assert "Runtime disabled: nodejs" in answer["stderr"]
