"""Defects 11 to 19 of RAGFlow's executor manager (docs/ragflow.md): results that get lost, or are forged."""

import base64
import json
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.live import eventually

pytestmark = [pytest.mark.needs_docker, pytest.mark.usefixtures("no_policy")]

FORGED = (
    "__RAGFLOW_RESULT__:"
    + base64.b64encode(json.dumps({"present": True, "value": "forged", "type": "json"}).encode()).decode()
)


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "def main():\n    print('abc', end='')\n    return 1"),
        ("nodejs", "function main() { process.stdout.write('abc'); return 1; }"),
    ],
)
def test_11_output_without_a_newline_does_not_swallow_the_result(platform, language: str, code: str):
    answer = platform.run(code, language)
    assert (answer["stdout"], answer["result"]["value"]) == ("abc", 1)


@pytest.mark.parametrize(
    "code",
    [
        f"def main():\n    print({FORGED!r})\n    raise SystemExit(0)",
        f"import os\ndef main():\n    os.write(1, {FORGED.encode()!r})\n    os._exit(0)",
        f"import atexit\natexit.register(print, {FORGED!r})\ndef main(): raise SystemExit(0)",
    ],
)
def test_12_marker_lines_on_stdout_are_no_result(platform, code: str):
    answer = platform.run(code)
    assert (answer["status"], answer["result"]) == ("success", None)
    assert "RAGFLOW_RESULT" not in answer["stdout"]


def test_12_marker_lines_do_not_replace_the_result(platform):
    code = (
        f"import atexit\natexit.register(print, {FORGED!r})\ndef main():\n    print({FORGED!r})\n    return 'mine'"
    )
    answer = platform.run(code)
    assert (answer["result"]["value"], answer["stdout"]) == ("mine", "")


def test_12_only_marker_lines_are_removed(platform):
    answer = platform.run(f"def main():\n    print('before')\n    print({FORGED!r})\n    print('see {FORGED}')")
    assert answer["stdout"] == f"before\nsee {FORGED}\n"


def test_12_output_of_atexit_stays_output(platform):
    answer = platform.run("import atexit\natexit.register(print, 'late')\ndef main(): return 1")
    assert (answer["stdout"], answer["result"]["value"]) == ("late\n", 1)


def frame(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack(">I", len(payload)) + payload


END = json.dumps(
    {
        "exit_code": 0,
        "signal": None,
        "stdout_bytes": 0,
        "stderr_bytes": 0,
        "result_bytes": 1,
        "cold": False,
        "dropped": [],
    }
).encode()


def test_12_frames_on_stdout_are_only_text(platform):
    forged = frame(b"R", b'"forged"') + frame(b"X", END)
    answer = platform.run(f"import os\ndef main():\n    os.write(1, {forged!r})\n    raise ValueError('mine')")
    assert (answer["status"], answer["result"]) == ("program_error", None)
    assert "ValueError: mine" in answer["stderr"]


VERBATIM = "a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i\r\nj\rk\tä"


def test_13_stdout_is_passed_on_verbatim(platform):
    code = f"import os\ndef main(): os.write(1, {VERBATIM!r}.encode())"
    assert platform.run(code)["stdout"] == VERBATIM


def test_13_newlines_at_the_end_are_kept(platform):
    assert platform.run("def main():\n    print()\n    print('a')\n    print()")["stdout"] == "\na\n\n"


@pytest.mark.parametrize(
    ("language", "code"),
    [
        (
            "python",
            "import os\ndef main():\n    os.write(1, b'\\xffabc\\x00')\n    os.write(2, b'\\xfe')\n    return 1",
        ),
        (
            "nodejs",
            "function main() { process.stdout.write(Buffer.from([255, 97, 98, 99, 0]));"
            " process.stderr.write(Buffer.from([254])); return 1; }",
        ),
    ],
)
def test_14_output_that_is_not_utf8_keeps_the_result(platform, language: str, code: str):
    answer = platform.run(code, language)
    assert (answer["result"]["value"], answer["stdout"], answer["stderr"]) == (1, "\ufffdabc\ufffd", "\ufffd")


def test_14_lone_surrogate_on_stdout_keeps_the_result(platform):
    answer = platform.run("def main():\n    print('\\ud800')\n    return 1")
    assert (answer["stdout"], answer["result"]["value"]) == ("\\ud800\n", 1)


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "def main(): return {'\\ud800': '\\udfff'}"),
        ("nodejs", "function main() { return {'\\ud800': '\\udfff'}; }"),
    ],
)
def test_14_lone_surrogates_in_the_result_come_through(platform, language: str, code: str):
    assert platform.run(code, language)["result"]["value"] == {"\ud800": "\udfff"}


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "def main(): return [float('nan'), float('inf'), 1.5]"),
        ("nodejs", "function main() { return [NaN, Infinity, 1.5]; }"),
    ],
)
def test_15_nan_and_infinity_are_null(platform, language: str, code: str):
    assert platform.run(code, language)["result"]["value"] == [None, None, 1.5]


@pytest.mark.parametrize(
    "code", ["json.dumps = lambda *a, **k: '1e999'", "json.dumps = lambda *a, **k: 'nonsense'"]
)
def test_15_program_can_only_spoil_its_own_result(platform, code: str):
    answer = platform.run(f"import json\n{code}\ndef main(): return 1")
    assert (answer["status"], answer["exit_code"]) == ("program_error", 1)
    assert "not JSON" in answer["stderr"]


@pytest.mark.parametrize("levels", [400, 700, 960, 1500])
def test_15_deeply_nested_results_are_answered(platform, levels: int):
    answer = platform.run(f"def main():\n    x = []\n    for i in range({levels}): x = [x]\n    return x")
    assert (answer["status"] == "success") == (levels < 500)
    assert levels < 500 or "nested" in answer["stderr"]


@pytest.mark.parametrize("status", [124, 137, 255])
def test_16_exit_status_of_the_program_is_only_that(platform, status: int):
    answer = platform.run(f"import sys\ndef main(): sys.exit({status})")
    assert (answer["status"], answer["exit_code"]) == ("program_error", status)
    assert answer["resource_limit_type"] is None


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "import os\ndef main(): os.kill(os.getpid(), 9)"),
        ("nodejs", "function main() { process.kill(process.pid, 'SIGKILL'); for (;;); }"),
    ],
)
def test_16_own_sigkill_is_no_memory_limit(platform, language: str, code: str):
    answer = platform.run(code, language)
    assert (answer["status"], answer["exit_code"], answer["resource_limit_type"]) == ("program_error", 137, None)
    assert "SIGKILL" in answer["stderr"]


def test_16_sandbox_killed_from_outside_is_our_failure(platform, set_columns):
    """`docker kill` by an administrator: neither the program's doing nor its memory."""
    set_columns("python", wall_time_ms=60_000, cpu_time_ms=60_000)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(platform.run, "def main():\n    while True: pass")
        claimed = eventually(
            lambda: platform.sql("SELECT container_id FROM executions_sandbox WHERE state = 'claimed'"), "claimed"
        )
        platform.kill_sandbox(claimed[0]["container_id"])
        assert (answer.result()["status"], answer.result()["exit_code"]) == ("program_runner_error", -3)
    assert answer.result()["resource_limit_type"] is None
    assert answer.result()["stderr"]


@pytest.mark.parametrize(
    "words", ["Permission denied", "Operation not permitted", "MemoryError", "Execution timeout"]
)
def test_17_words_on_stderr_decide_nothing(platform, words: str):
    answer = platform.run(f"def main(): raise ValueError({words!r})")
    assert (answer["status"], answer["exit_code"]) == ("program_error", 1)
    assert answer["unauthorized_access_type"] is answer["resource_limit_type"] is None
    assert words in answer["stderr"]


def test_18_output_of_failed_runs_is_kept_in_the_history(platform):
    """The answer leaves it out, because clients take it for a result."""
    assert platform.run("def main():\n    print('evidence')\n    raise ValueError")["stdout"] == ""
    assert platform.last_execution()["stdout"] == "evidence\n"


def test_result_is_there_though_a_thread_never_ends(platform, short_runs):
    code = """
import threading, time
def main():
    threading.Thread(target=time.sleep, args=(3600,)).start()
    print("unfinished line", end="")
    return 1
"""
    answer = platform.run(code)
    assert (answer["result"]["value"], answer["stdout"]) == (1, "unfinished line")
