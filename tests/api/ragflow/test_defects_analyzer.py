"""Defects 24 and 25 of RAGFlow's executor manager (docs/ragflow.md): its code filter, here a lint."""

import pytest

pytestmark = pytest.mark.needs_docker

HARMLESS = [
    ("python.constant-operation", "python", "def main(): return 60*60"),
    ("python.constant-operation", "python", "def main(): return 10**30"),
    ("python.call", "python", "import re\ndef main(): return bool(re.compile('a'))"),
    ("python.call", "python", "def main():\n    x = [1]\n    x.remove(1)\n    return x"),
    ("nodejs.eval", "nodejs", "function main() { return 1; } // no eval( here"),
]


@pytest.mark.parametrize(("rule", "language", "code"), HARMLESS)
def test_24_harmless_programs_are_refused_as_ragflow_does(platform, rule: str, language: str, code: str):
    answer = platform.run(code, language)
    assert (answer["status"], answer["exit_code"], answer["detail"]) == (
        "program_runner_error",
        -999,
        "Code is unsafe",
    )
    assert {v["rule"] for v in platform.last_execution()["policy_violations"]} == {rule}


@pytest.mark.parametrize(("rule", "language", "code"), HARMLESS)
def test_24_a_single_rule_can_be_switched_off(platform, set_columns, rule: str, language: str, code: str):
    set_columns(language, disabled_rules=[rule])
    assert platform.run(code, language)["status"] == "success"
    other = {"python": "import socket\ndef main(): pass", "nodejs": "require('fs'); function main() {}"}
    assert platform.run(other[language], language)["detail"] == "Code is unsafe"


@pytest.mark.parametrize(("policy", "recorded"), [("warn", 1), ("off", 0)])
def test_24_policy_can_warn_or_be_off(platform, set_columns, policy: str, recorded: int):
    set_columns("python", ragflow_code_policy=policy)
    assert platform.run("def main(): return 60*60")["result"]["value"] == 3600
    assert len(platform.last_execution()["policy_violations"]) == recorded


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "import importlib\ndef main(): return importlib.import_module('o' + str('s')).getuid()"),
        ("python", "import posix\ndef main(): return posix.getuid()"),
        (
            "nodejs",
            "function main() { return +require('node:child_process').execSync('id -u').toString(); }",
        ),
    ],
)
def test_25_what_gets_past_the_lint_meets_gvisor_as_nobody(platform, language: str, code: str):
    assert platform.run(code, language)["result"]["value"] == 65534


def test_25_slow_analysis_does_not_hold_up_others(platform):
    """RAGFlow's analyzer runs in the event loop. Nested comprehensions are the slowest that rules can get."""
    from concurrent.futures import ThreadPoolExecutor

    import requests

    code = "def main(): return " + "[" * 60 + "1" + " for x in y]" * 60
    with ThreadPoolExecutor() as pool:
        slow = [pool.submit(platform.run, code) for _ in range(4)]
        while not all(answer.done() for answer in slow):
            assert requests.get(f"{platform.url}/healthz", timeout=10).status_code == 200
        assert {answer.result()["status"] for answer in slow} <= {"program_error", "program_runner_error"}
