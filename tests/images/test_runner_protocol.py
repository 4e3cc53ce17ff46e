"""docs/runner-protocol.md as a contract: every image's runner, driven directly through the engine."""

import base64
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import docker
import pytest

from executions.sandbox.docker_engine import DockerEngine, container_config
from executions.sandbox.session import wait_until_ready
from tests.executions.sandbox.guest import LIMITS, SOURCE_FILES, Guest, Seen, guest, job, run, spec

pytestmark = pytest.mark.needs_docker

LANGUAGES = ["python", "nodejs"]


@pytest.fixture(scope="module", params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


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
def function_run(engine: DockerEngine, language: str) -> Iterator[tuple[Guest, Seen]]:
    it = Guest(engine, spec(language, environment={"FROM_SANDBOX": "s"}))
    try:
        hello = it.hello()
        assert json.loads(hello) == {"protocol": 1}
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
    assert (end.exit_code, end.signal, end.lingered) == (0, None, False)


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
def script_run(engine: DockerEngine, language: str) -> Seen:
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


def test_script_that_succeeds_ends_at_once(engine: DockerEngine, language: str) -> None:
    code = {"python": "print('done')", "nodejs": "console.log('done')"}[language]
    with guest(engine, spec(language)) as it:
        began = time.monotonic()
        seen = it.run(job(code, language, mode="script"))
        took = time.monotonic() - began
    assert seen.end is not None
    assert (seen.stdout, seen.end.exit_code, seen.end.lingered) == (b"done\n", 0, False)
    assert took < 0.9, took


FILES = [
    {"path": "folder/words.py", "base64": base64.b64encode(b"WORD = 'w'").decode()},
    {"path": "folder/words.js", "base64": base64.b64encode(b"exports.WORD = 'w'").decode()},
    {"path": "data/in.bin", "base64": base64.b64encode(b"\xff\0").decode()},
]


def test_files_of_the_job_are_there_before_the_program(engine: DockerEngine, language: str) -> None:
    code = {
        "python": "from words import WORD\nprint(WORD, list(open('data/in.bin', 'rb').read()))",
        "nodejs": "const { WORD } = require('./words');\n"
        "console.log(WORD, JSON.stringify([...require('fs').readFileSync('data/in.bin')]).replace(',', ', '));",
    }[language]
    source_file = f"folder/{SOURCE_FILES[language]}"
    seen = run(engine, code, language, mode="script", files=FILES, source_file=source_file)
    assert seen.stdout == b"w [255, 0]\n", seen.stderr


def test_script_has_no_result(script_run: Seen) -> None:
    assert script_run.result is None


# -- how programs end ---------------------------------------------------------------------------------------

RAISES = {
    "python": "def main(): raise ValueError('too bad')",
    "nodejs": "function main() { throw new Error('too bad'); }",
}


def test_uncaught_error_is_exit_one_with_its_text_on_stderr(engine: DockerEngine, language: str) -> None:
    seen = run(engine, RAISES[language], language)
    assert seen.end is not None
    assert (seen.end.exit_code, b"too bad" in seen.stderr, seen.result) == (1, True, None)


KILLS_ITSELF = {
    "python": "import os, signal\ndef main(): os.kill(os.getpid(), signal.SIGKILL)",
    "nodejs": "function main() { process.kill(process.pid, 'SIGKILL'); for (;;); }",
}


def test_signal_is_told_apart_from_an_exit_status(engine: DockerEngine, language: str) -> None:
    end = run(engine, KILLS_ITSELF[language], language).end
    assert end is not None
    assert (end.exit_code, end.signal) == (None, 9)


LINGERS = {
    "python": "import threading, time\n"
    "def main():\n    threading.Thread(target=time.sleep, args=(1000,)).start()\n    return 1",
    "nodejs": "function main() { setTimeout(() => {}, 1000000); return 1; }",
}


def test_lingering_program_ends_with_its_result(engine: DockerEngine, language: str) -> None:
    seen = run(engine, LINGERS[language], language)
    assert seen.end is not None
    assert (seen.result, seen.end.exit_code, seen.end.signal) == (b"1", 0, None)


def test_lingering_program_is_reported_as_such(engine: DockerEngine) -> None:
    # Only Python's: the Node.js worker gives up by itself at the same moment as the runner.
    end = run(engine, LINGERS["python"]).end
    assert end is not None
    assert end.lingered


DAEMONS = {
    "python": """
import os, time
def main():
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(1000)
            os._exit(0)
    return 1
""",
    "nodejs": """
function main() {
  for (let i = 0; i < 3; i++) {
    require('child_process').spawn('sleep', ['1000'], { detached: true, stdio: 'inherit' }).unref();
  }
  return 1;
}
""",
}


def test_daemons_that_hold_the_pipes_do_not_hold_the_run(engine: DockerEngine, language: str) -> None:
    # They would sleep for longer than the test waits.
    seen = run(engine, DAEMONS[language], language)
    assert seen.end is not None
    assert (seen.result, seen.end.exit_code, seen.end.lingered) == (b"1", 0, False)


FORKS_FOR_EVER = """
import os, time
def main():
    if os.fork() == 0:
        os.setsid()
        while True:
            try:
                os.fork()
            except OSError:
                pass
    time.sleep(0.5)
    return 1
"""


def test_processes_that_fork_for_ever_do_not_hold_the_run(engine: DockerEngine) -> None:
    # One kill(-1) misses what is being forked at that moment.
    limits = {**LIMITS.as_dict(), "processes": 24}
    with guest(engine, spec(limits=type(LIMITS)(**limits))) as it:
        seen = it.run(job(FORKS_FOR_EVER))
    assert (seen.kinds, seen.result) == ("RX", b"1")


# -- output -------------------------------------------------------------------------------------------------

FLOODS = {
    "python": "import sys\ndef main():\n    sys.stdout.write('x' * 300000)\n    return 1",
    "nodejs": "function main() { process.stdout.write('x'.repeat(300000)); return 1; }",
}


@pytest.fixture(scope="module")
def cut_run(engine: DockerEngine, language: str) -> Seen:
    return run(engine, FLOODS[language], language, output_bytes=2000)


def test_output_is_cut_one_byte_over_the_limit(cut_run: Seen) -> None:
    assert cut_run.stdout == b"x" * 2001


def test_output_that_is_cut_lets_the_run_go_on(cut_run: Seen) -> None:
    assert cut_run.end is not None
    assert (cut_run.result, cut_run.end.exit_code) == (b"1", 0)


def test_output_is_counted_in_full_though_it_was_cut(cut_run: Seen) -> None:
    assert cut_run.end is not None
    assert cut_run.end.stdout_bytes == 300_000


FLOODS_AND_STAYS = {
    "python": "import time\ndef main():\n    print('x' * 300000, flush=True)\n    time.sleep(1000)",
    "nodejs": "function main() {\n"
    " console.log('x'.repeat(300000)); return new Promise(() => setInterval(() => {}, 1000)); }",
}


def test_output_over_the_limit_ends_the_run_where_the_job_says_so(engine: DockerEngine, language: str) -> None:
    seen = run(engine, FLOODS_AND_STAYS[language], language, output_bytes=2000, output_action="kill")
    assert seen.end is not None
    assert (len(seen.stdout), seen.end.signal) == (2001, 9)


BYTES = {
    "python": "import os\ndef main():\n"
    "    os.write(1, bytes(range(256)))\n    os.write(2, bytes(range(255, -1, -1)))",
    "nodejs": """
const fs = require('fs');
function main() {
  fs.writeSync(1, Buffer.from([...Array(256).keys()]));
  fs.writeSync(2, Buffer.from([...Array(256).keys()].reverse()));
  return null;
}
""",
}


def test_output_may_be_any_bytes(engine: DockerEngine, language: str) -> None:
    seen = run(engine, BYTES[language], language)
    assert (seen.stdout, seen.stderr) == (bytes(range(256)), bytes(range(255, -1, -1)))


LARGE_RESULT = {
    "python": "def main(): return 'D' * 200000",
    "nodejs": "function main() { return 'D'.repeat(200000); }",
}


def test_result_over_the_limit_is_not_sent_but_its_size_is(engine: DockerEngine, language: str) -> None:
    seen = run(engine, LARGE_RESULT[language], language, result_bytes=2000)
    assert seen.end is not None
    assert (seen.result, seen.end.result_bytes, seen.end.exit_code) == (None, 200_002, 0)


def test_result_may_be_as_large_as_the_limit(engine: DockerEngine, language: str) -> None:
    seen = run(engine, LARGE_RESULT[language], language, result_bytes=200_002)
    assert seen.result == b'"' + b"D" * 200_000 + b'"'


# -- input --------------------------------------------------------------------------------------------------

IGNORES_STDIN = {
    "python": "def main(words): return len(words)",
    "nodejs": "function main({ words }) { return words.length; }",
}


def test_program_may_ignore_its_stdin_and_get_megabytes_of_arguments(engine: DockerEngine, language: str) -> None:
    arguments = json.dumps({"words": "y" * 5_000_000})
    seen = run(engine, IGNORES_STDIN[language], language, stdin="x" * 3_000_000, arguments=arguments)
    assert seen.result == b"5000000"


# -- the program against its runner -------------------------------------------------------------------------

ATTACKS = {
    "python": """
import ctypes, errno, os
def attempt(what):
    try:
        what()
    except OSError as e:
        return errno.errorcode[e.errno]
    return "done"
def ptrace():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, 1, None, None) == -1:
        raise OSError(ctypes.get_errno(), "ptrace")
def main():
    return {
        "fd/0": attempt(lambda: os.open("/proc/1/fd/0", os.O_RDONLY)),
        "fd/1": attempt(lambda: os.open("/proc/1/fd/1", os.O_WRONLY)),
        "mem": attempt(lambda: os.open("/proc/1/mem", os.O_RDONLY)),
        "signal": attempt(lambda: os.kill(1, 9)),
        "ptrace": attempt(ptrace),
    }
""",
    "nodejs": """
const fs = require('fs');
function attempt(what) { try { what(); } catch (e) { return e.code; } return 'done'; }
function main() {
  return {
    'fd/0': attempt(() => fs.openSync('/proc/1/fd/0', 'r')),
    'fd/1': attempt(() => fs.openSync('/proc/1/fd/1', 'w')),
    'mem': attempt(() => fs.openSync('/proc/1/mem', 'r')),
    'signal': attempt(() => process.kill(1, 'SIGKILL')),
  };
}
""",
}


@pytest.fixture(scope="module")
def attacks(engine: DockerEngine, language: str) -> dict[str, str]:
    return dict(json.loads(run(engine, ATTACKS[language], language).result or b"{}"))


@pytest.mark.parametrize("attack", ["fd/0", "fd/1", "mem", "signal"])
def test_program_cannot_touch_its_runner(attacks: dict[str, str], attack: str) -> None:
    assert attacks[attack] in ("EPERM", "EACCES")


def test_program_cannot_trace_its_runner(engine: DockerEngine) -> None:
    result = json.loads(run(engine, ATTACKS["python"]).result or b"{}")
    assert result["ptrace"] == "EPERM"


CLOSES_EVERYTHING = {
    "python": "import os, time\ndef main():\n    os.closerange(0, 1024)\n    time.sleep(0.3)\n    os._exit(3)",
    "nodejs": """
const fs = require('fs');
function main() {
  for (const fd of [0, 1, 2, 3, 4]) try { fs.closeSync(fd); } catch {}
  setTimeout(() => process.exit(3), 300);
  return new Promise(() => {});
}
""",
}


def test_program_that_closes_its_descriptors_ends_as_it_says(engine: DockerEngine, language: str) -> None:
    end = run(engine, CLOSES_EVERYTHING[language], language).end
    assert end is not None
    assert (end.exit_code, end.signal) == (3, None)


GARBAGE = {
    "python": "import os\ndef main():\n    os.write(4, b'garbage' * 5000)\n    return 1",
    "nodejs": "function main() { require('fs').writeSync(4, 'garbage'.repeat(5000)); return 1; }",
}


def test_garbage_on_the_status_pipe_spoils_only_the_result(engine: DockerEngine, language: str) -> None:
    seen = run(engine, GARBAGE[language], language)
    assert seen.end is not None
    assert (seen.kinds, seen.end.exit_code) == ("X", 0)


FORGES = {
    "python": r"import os" "\n" r"def main():" "\n" r"    os.write(4, b'R\0\0\0\x01' + b'2'); return 1",
    "nodejs": r"function main() { require('fs').writeSync(4, Buffer.from('R\0\0\0\x012', 'latin1')); return 1; }",
}


def test_program_that_forges_its_result_has_only_that_one(engine: DockerEngine, language: str) -> None:
    seen = run(engine, FORGES[language], language)
    assert (seen.kinds, seen.result) == ("RX", b"2")


FRAMES_ON_STDOUT = {
    "python": r"""import os
def main():
    os.write(1, b'X\0\0\0\x02{}')
    return 1
""",
    "nodejs": r"function main() { require('fs').writeSync(1, Buffer.from('X\0\0\0\x02{}', 'latin1')); return 1; }",
}


def test_frames_on_stdout_are_only_text(engine: DockerEngine, language: str) -> None:
    seen = run(engine, FRAMES_ON_STDOUT[language], language)
    assert (seen.kinds, seen.stdout, seen.result) == ("ORX", b"X\0\0\0\x02{}", b"1")


# -- artifacts/ replaced ------------------------------------------------------------------------------------

REPLACED = {
    "symlink": {
        "python": "import os\ndef main():\n    os.rmdir('artifacts')\n    os.symlink('/etc', 'artifacts')",
        "nodejs": "const fs = require('fs');\n"
        "function main() { fs.rmdirSync('artifacts'); fs.symlinkSync('/etc', 'artifacts'); return null; }",
    },
    "FIFO": {
        "python": "import os\ndef main():\n    os.rmdir('artifacts')\n    os.mkfifo('artifacts')",
        "nodejs": "function main() {\n require('fs').rmdirSync('artifacts');\n"
        " require('child_process').spawnSync('mkfifo', ['artifacts']); return null; }",
    },
    "nothing": {
        "python": "import os\ndef main():\n    os.rmdir('artifacts')",
        "nodejs": "function main() { require('fs').rmdirSync('artifacts'); return null; }",
    },
}


@pytest.mark.parametrize("by", REPLACED)
def test_artifacts_folder_may_be_replaced_and_then_holds_nothing(
    engine: DockerEngine, language: str, by: str
) -> None:
    seen = run(engine, REPLACED[by][language], language)
    assert (seen.kinds, seen.result) == ("RX", b"null")


MANY_FILES = """
import os
def main(count):
    made = 0
    for number in range(count):
        try:
            os.close(os.open(f"artifacts/{number}.txt", os.O_CREAT | os.O_WRONLY))
        except OSError:
            break
        made += 1
    with open("artifacts/0.txt", "w") as file:
        file.write("zero")
    return made
"""


def test_artifacts_folder_may_hold_a_hundred_thousand_files(engine: DockerEngine) -> None:
    seen = run(engine, MANY_FILES, arguments='{"count": 100000}')
    assert (seen.result, seen.kinds[-1:], len(seen.artifacts) <= 1) == (b"100000", "X", True)


def test_artifacts_are_as_many_as_the_job_allows(engine: DockerEngine) -> None:
    code = "def main():\n    for n in range(5): open(f'artifacts/{n}.txt', 'w').write('x')"
    assert list(run(engine, code, artifact_count=3).artifacts) == ["0.txt", "1.txt", "2.txt"]


def test_artifacts_are_of_the_kinds_that_the_job_allows(engine: DockerEngine) -> None:
    code = "def main():\n    for n in ('a.PNG', 'b.txt', 'c.png.exe'): open(f'artifacts/{n}', 'w').write('x')"
    assert list(run(engine, code, artifact_suffixes=[".png"]).artifacts) == ["a.PNG"]


# -- jobs that are none -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bytes_", [b"J\0\0\0\x05{oops", b"J\0\0\0\x02{}", b"Q\0\0\0\0", b"H\0\0\0\x02{}"],
    ids=["no JSON", "no fields", "unknown frame", "frame of the other side"],
)  # fmt: skip
def test_runner_that_gets_no_proper_job_ends_with_a_complaint(
    engine: DockerEngine, language: str, bytes_: bytes
) -> None:
    with guest(engine, spec(language)) as it:
        it.channel.send(bytes_)
        seen = it.until_end()
        state = engine.state_after_end(it.id)
    assert (seen.kinds, state.running, state.exit_code, bool(seen.complaint)) == ("", False, 1, True)


def test_runner_ends_when_stdin_closes_before_the_job(engine: DockerEngine, language: str) -> None:
    with closing(docker.APIClient(version="1.43")) as api:
        container = api.create_container_from_config(container_config(spec(language)) | {"StdinOnce": True})["Id"]
    channel = engine.attach(container)
    try:
        engine.start(container)
        wait_until_ready(channel)
        channel._sock.shutdown(socket.SHUT_WR)
        assert channel.receive() is None
    finally:
        channel.close()
    assert engine.state_after_end(container).exit_code == 0


# -- preloading ---------------------------------------------------------------------------------------------

IDLE_MODULE = {"python": "pandas", "nodejs": "axios"}
IS_LOADED = {
    "python": "import sys\nloaded = 'pandas' in sys.modules\ndef main(): return loaded",
    "nodejs": "const loaded = Object.keys(require.cache).some((f) => f.includes('axios'));\n"
    "function main() { return loaded; }",
}


def idle(engine: DockerEngine, language: str, seconds: float) -> bytes | None:
    with guest(engine, spec(language, runner_config={"preload_when_idle": [IDLE_MODULE[language]]})) as it:
        time.sleep(seconds)
        return it.run(job(IS_LOADED[language], language)).result


def test_preload_is_there_before_the_hello(engine: DockerEngine, language: str) -> None:
    with guest(engine, spec(language, runner_config={"preload": [IDLE_MODULE[language]]})) as it:
        assert it.run(job(IS_LOADED[language], language)).result == b"true"


def test_preload_when_idle_is_there_after_a_while(engine: DockerEngine, language: str) -> None:
    assert any(idle(engine, language, seconds) == b"true" for seconds in (3, 6, 12, 24))


@pytest.mark.parametrize("seconds", [0.5, 0.7, 1.0])
def test_job_in_the_middle_of_idle_preloading_is_served(
    engine: DockerEngine, language: str, seconds: float
) -> None:
    assert idle(engine, language, seconds) in (b"true", b"false")


def test_job_is_served_though_what_is_to_be_preloaded_when_idle_does_not_exist(
    engine: DockerEngine, language: str
) -> None:
    with guest(engine, spec(language, runner_config={"preload_when_idle": ["no-such-module"]})) as it:
        time.sleep(1.5)
        assert it.run(job(IS_LOADED[language], language)).result == b"false"


def test_sandbox_whose_preload_does_not_exist_ends_with_a_complaint(engine: DockerEngine, language: str) -> None:
    it = Guest(engine, spec(language, runner_config={"preload": ["no-such-module"]}))
    try:
        seen = it.until_end()
    finally:
        it.remove()
    assert (seen.kinds, "no-such-module" in seen.complaint) == ("", True)
