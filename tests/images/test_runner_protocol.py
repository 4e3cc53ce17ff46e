"""docs/runner-protocol.md as a contract: every image's runner, driven directly through the engine."""

import base64
import json
from collections.abc import Iterator

import pytest

from sandboxes.engine import Engine
from tests.sandboxes.guest import SOURCE_FILES, Guest, Seen, guest, job, run, spec

pytestmark = pytest.mark.needs_docker


# -- one ordinary run of a function, looked at from all sides ------------------------------------------------

FUNCTION = {
    "python": """
import os, sys
os.mkdir("artifacts/folder")
os.symlink("/etc/passwd", "artifacts/link.txt")
os.mkfifo("artifacts/fifo.txt")
for name, content in {
    "b.txt": "two", "a.txt": "one", ".hidden": "x", "locked.txt": "mine", "empty.txt": "", "new\\nline.txt": "x",
    "large.bin": "x" * 1000001,
}.items():
    with open(f"artifacts/{name}", "w") as file:
        file.write(content)
os.chmod("artifacts/locked.txt", 0o600)
async def main(word):
    print("to stdout", word)
    print("to stderr", word, file=sys.stderr)
    return {"word": word, "job": os.environ["FROM_JOB"], "sandbox": os.environ["FROM_SANDBOX"],
            "cwd": os.getcwd(), "file": __file__}
""",
    "nodejs": """
const fs = require('fs');
fs.mkdirSync('artifacts/folder');
fs.symlinkSync('/etc/passwd', 'artifacts/link.txt');
require('child_process').spawnSync('mkfifo', ['artifacts/fifo.txt']);
for (const [name, content] of Object.entries({
  'b.txt': 'two', 'a.txt': 'one', '.hidden': 'x', 'locked.txt': 'mine', 'empty.txt': '', 'new\\nline.txt': 'x',
  'large.bin': 'x'.repeat(1000001),
})) fs.writeFileSync(`artifacts/${name}`, content);
fs.chmodSync('artifacts/locked.txt', 0o600);
async function main({ word }) {
  console.log('to stdout', word);
  console.error('to stderr', word);
  const { FROM_JOB, FROM_SANDBOX } = process.env;
  return { word, job: FROM_JOB, sandbox: FROM_SANDBOX, cwd: process.cwd(), file: __filename };
}
""",
}


@pytest.fixture(scope="module")
def function_run(engine: Engine, language: str) -> Iterator[tuple[Guest, Seen]]:
    it = Guest(engine, spec(language, environment={"FROM_SANDBOX": "s"}))
    try:
        hello = it.hello()
        assert json.loads(hello) == {"protocol": 2}
        seen = it.run(
            job(
                FUNCTION[language],
                language,
                arguments='{"word": "h\\u00e9llo"}',
                environment={"FROM_JOB": "j"},
                artifact_bytes=1_000_000,
            )
        )
        yield it, seen
    finally:
        it.remove()


def test_function_result_is_what_main_returned(function_run: tuple[Guest, Seen], language: str) -> None:
    result = json.loads(function_run[1].result or b"")
    assert result["word"] == "héllo"


def test_function_runs_in_the_workspace(function_run: tuple[Guest, Seen]) -> None:
    assert json.loads(function_run[1].result or b"")["cwd"] == "/workspace"


def test_function_is_the_source_file_of_the_job(function_run: tuple[Guest, Seen], language: str) -> None:
    suffix = {"python": "py", "nodejs": "js"}[language]
    assert json.loads(function_run[1].result or b"")["file"] == f"/workspace/main.{suffix}"


def test_environment_of_the_job_reaches_the_program(function_run: tuple[Guest, Seen]) -> None:
    assert json.loads(function_run[1].result or b"")["job"] == "j"


def test_environment_of_the_sandbox_reaches_the_program(function_run: tuple[Guest, Seen]) -> None:
    assert json.loads(function_run[1].result or b"")["sandbox"] == "s"


def test_stdout_is_passed_on_as_it_was_written(function_run: tuple[Guest, Seen]) -> None:
    assert function_run[1].stdout == "to stdout héllo\n".encode()


def test_stderr_is_passed_on_as_it_was_written(function_run: tuple[Guest, Seen]) -> None:
    assert function_run[1].stderr == "to stderr héllo\n".encode()


def test_end_counts_the_bytes_of_both_streams(function_run: tuple[Guest, Seen]) -> None:
    _, seen = function_run
    assert seen.end is not None
    assert (seen.end.stdout_bytes, seen.end.stderr_bytes) == (len(seen.stdout), len(seen.stderr))


def test_end_of_a_function_that_returned_is_exit_zero(function_run: tuple[Guest, Seen]) -> None:
    end = function_run[1].end
    assert end is not None
    assert (end.exit_code, end.signal, end.cold) == (0, None, False)


def test_artifacts_are_the_plain_files_in_order(function_run: tuple[Guest, Seen]) -> None:
    assert function_run[1].artifacts == {"a.txt": b"one", "b.txt": b"two", "locked.txt": b"mine"}


def test_artifacts_come_after_everything_but_the_end(function_run: tuple[Guest, Seen]) -> None:
    kinds = function_run[1].kinds
    assert kinds.lstrip("OER") == "AAAX"


def test_runner_says_nothing_beside_its_frames(function_run: tuple[Guest, Seen]) -> None:
    assert function_run[1].complaint == ""


def test_second_job_is_never_taken(function_run: tuple[Guest, Seen], language: str) -> None:
    it, _ = function_run
    it.channel.send(job(FUNCTION[language], language).frame())
    assert it.frame() is None


# -- one ordinary script ------------------------------------------------------------------------------------

SCRIPT = {
    "python": """
import json, sys
print(json.dumps([sys.argv, sys.stdin.read(), __name__]), end="")
sys.exit(7)
""",
    "nodejs": """
const text = require('fs').readFileSync(0, 'utf8');
process.stdout.write(JSON.stringify([process.argv.slice(1), text, require.main === module ? '__main__' : '']));
process.exitCode = 7;
""",
}


@pytest.fixture(scope="module")
def script_run(engine: Engine, language: str) -> Seen:
    return run(
        engine, SCRIPT[language], language, mode="script", argv=["-a", "b c"], stdin="line 1\nligne é\n"
    )  # fmt: skip


def test_script_gets_its_arguments(script_run: Seen, language: str) -> None:
    suffix = {"python": "py", "nodejs": "js"}[language]
    assert json.loads(script_run.stdout)[0] == [f"/workspace/main.{suffix}", "-a", "b c"]


def test_script_gets_its_stdin_and_its_end(script_run: Seen) -> None:
    assert json.loads(script_run.stdout)[1] == "line 1\nligne é\n"


def test_script_is_the_main_program(script_run: Seen) -> None:
    assert json.loads(script_run.stdout)[2] == "__main__"


def test_script_end_is_its_exit_status(script_run: Seen) -> None:
    assert script_run.end is not None
    assert (script_run.end.exit_code, script_run.end.signal) == (7, None)


def test_script_that_succeeds_ends_by_itself(engine: Engine, language: str) -> None:
    code = {"python": "print('done')", "nodejs": "console.log('done')"}[language]
    with guest(engine, spec(language)) as it:
        seen = it.run(job(code, language, mode="script"))
    assert seen.end is not None
    assert (seen.stdout, seen.end.exit_code) == (b"done\n", 0)


FILES = [
    {"path": "folder/words.py", "base64": base64.b64encode(b"WORD = 'w'").decode()},
    {"path": "folder/words.js", "base64": base64.b64encode(b"exports.WORD = 'w'").decode()},
    {"path": "data/in.bin", "base64": base64.b64encode(b"\xff\0").decode()},
]


def test_files_of_the_job_are_there_before_the_program(engine: Engine, language: str) -> None:
    code = {
        "python": "from words import WORD\nprint(WORD, list(open('data/in.bin', 'rb').read()))",
        "nodejs": "const { WORD } = require('./words');\n"
        "console.log(WORD, JSON.stringify([...require('fs').readFileSync('data/in.bin')]).replace(',', ', '));",
    }[language]
    source_file = f"folder/{SOURCE_FILES[language]}"
    seen = run(engine, code, language, mode="script", files=FILES, source_file=source_file)
    assert seen.stdout == b"w [255, 0]\n", seen.stderr


LEAVES = {
    "python": """
for name, content in {"plot.png": "new", "in.txt": "changed", "large.bin": "x" * 1001, "a.bmp": "x"}.items():
    open(name, "w").write(content)
open("artifacts/plot.png", "w").write("first")
""",
    "nodejs": """
const files = { 'plot.png': 'new', 'in.txt': 'changed', 'large.bin': 'x'.repeat(1001), 'a.bmp': 'x' };
for (const [name, content] of Object.entries(files)) require('fs').writeFileSync(name, content);
require('fs').writeFileSync('artifacts/plot.png', 'first');
""",
}


@pytest.fixture(scope="module")
def left(engine: Engine, language: str) -> Seen:
    inputs = [{"path": name, "base64": base64.b64encode(b"as sent").decode()} for name in ("in.txt", "kept.txt")]
    return run(
        engine, LEAVES[language], language,
        mode="script", files=inputs, artifact_bytes=1000, artifact_suffixes=[".png", ".txt", ".bin"],
    )  # fmt: skip


def test_files_of_the_working_folder_are_sent_but_for_inputs_that_did_not_change(left: Seen) -> None:
    assert left.artifacts == {"plot.png": b"first", "in.txt": b"changed"}


def test_files_that_are_not_sent_are_named(left: Seen) -> None:
    assert left.end is not None
    assert left.end.dropped == [["a.bmp", "file type not returned"], ["large.bin", "too large"]]


def test_script_has_no_result(script_run: Seen) -> None:
    assert script_run.result is None


# -- input --------------------------------------------------------------------------------------------------

IGNORES_STDIN = {
    "python": "def main(words): return len(words)",
    "nodejs": "function main({ words }) { return words.length; }",
}


def test_program_may_ignore_its_stdin_and_get_megabytes_of_arguments(engine: Engine, language: str) -> None:
    arguments = json.dumps({"words": "y" * 5_000_000})
    seen = run(engine, IGNORES_STDIN[language], language, stdin="x" * 3_000_000, arguments=arguments)
    assert seen.result == b"5000000"
