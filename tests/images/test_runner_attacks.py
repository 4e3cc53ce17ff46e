"""Programs against their runner, jobs that are none, and preloading: every image's runner."""

import json
import socket
import time
from contextlib import closing
from typing import Any

import docker
import pytest

from sandboxes.docker_engine import container_config
from sandboxes.engine import Engine
from sandboxes.session import wait_until_ready
from tests.sandboxes.guest import Guest, guest, job, run, spec

pytestmark = pytest.mark.needs_docker


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
def attacks(engine: Engine, language: str) -> dict[str, str]:
    return dict(json.loads(run(engine, ATTACKS[language], language).result or b"{}"))


@pytest.mark.parametrize("attack", ["fd/0", "fd/1", "mem", "signal"])
def test_program_cannot_touch_its_runner(attacks: dict[str, str], attack: str) -> None:
    assert attacks[attack] in ("EPERM", "EACCES")


def test_program_cannot_trace_its_runner(engine: Engine) -> None:
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


def test_program_that_closes_its_descriptors_ends_as_it_says(engine: Engine, language: str) -> None:
    end = run(engine, CLOSES_EVERYTHING[language], language).end
    assert end is not None
    assert (end.exit_code, end.signal) == (3, None)


GARBAGE = {
    "python": """
import os
def main():
    for fd in range(256):
        try:
            os.write(fd, b"garbage" * 50)
        except OSError:
            pass
    return 1
""",
    "nodejs": """
function main() {
  for (let fd = 0; fd < 256; fd++) try { require('fs').writeSync(fd, 'garbage'); } catch {}
  return 1;
}
""",
}


def test_program_that_writes_to_every_descriptor_keeps_its_result(engine: Engine, language: str) -> None:
    seen = run(engine, GARBAGE[language], language)
    assert seen.end is not None
    assert (seen.result, seen.end.exit_code) == (b"1", 0)


FORGES = {
    "python": "import os\ndef main():\n    open('/run/sandbox/result', 'w').write('2')\n    os._exit(0)",
    "nodejs": "function main() { require('fs').writeFileSync('/run/sandbox/result', '2'); process.exit(0); }",
}


def test_program_that_forges_its_result_has_only_that_one(engine: Engine, language: str) -> None:
    seen = run(engine, FORGES[language], language)
    assert (seen.kinds, seen.result) == ("RX", b"2")


REPLACES = {
    "a link to another file": "os.symlink('/etc/passwd', '/run/sandbox/result')",
    "a pipe": "os.mkfifo('/run/sandbox/result')",
    "a folder": "os.mkdir('/run/sandbox/result')",
}


@pytest.mark.parametrize("how", REPLACES)
def test_result_is_read_from_a_file_of_the_programs_only(engine: Engine, how: str) -> None:
    seen = run(engine, f"import os\ndef main():\n    {REPLACES[how]}\n    os._exit(0)")
    assert seen.end is not None
    assert (seen.kinds, seen.end.exit_code) == ("X", 0)


def test_program_that_pretends_an_exit_status_pretends_only_its_own(engine: Engine) -> None:
    code = "import time\ndef main():\n    open('/run/sandbox/exit', 'w').write('\\7')\n    time.sleep(60)"
    end = run(engine, code).end
    assert end is not None
    assert (end.exit_code, end.signal) == (7, None)


FRAMES_ON_STDOUT = {
    "python": r"""import os
def main():
    os.write(1, b'X\0\0\0\x02{}')
    return 1
""",
    "nodejs": r"function main() { require('fs').writeSync(1, Buffer.from('X\0\0\0\x02{}', 'latin1')); return 1; }",
}


def test_frames_on_stdout_are_only_text(engine: Engine, language: str) -> None:
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
def test_artifacts_folder_may_be_replaced_and_then_holds_nothing(engine: Engine, language: str, by: str) -> None:
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


def test_artifacts_folder_may_hold_a_hundred_thousand_files(engine: Engine) -> None:
    seen = run(engine, MANY_FILES, arguments='{"count": 100000}')
    assert (seen.result, seen.kinds[-1:], len(seen.artifacts) <= 1) == (b"100000", "X", True)


def test_artifacts_are_as_many_as_the_job_allows(engine: Engine) -> None:
    code = "def main():\n    for n in range(5): open(f'artifacts/{n}.txt', 'w').write('x')"
    assert list(run(engine, code, artifact_count=3).artifacts) == ["0.txt", "1.txt", "2.txt"]


def test_artifacts_are_of_the_kinds_that_the_job_allows(engine: Engine) -> None:
    code = "def main():\n    for n in ('a.PNG', 'b.txt', 'c.png.exe'): open(f'artifacts/{n}', 'w').write('x')"
    assert list(run(engine, code, artifact_suffixes=[".png"]).artifacts) == ["a.PNG"]


# -- jobs that are none -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bytes_", [b"J\0\0\0\x05{oops", b"J\0\0\0\x02{}", b"Q\0\0\0\0", b"H\0\0\0\x02{}"],
    ids=["no JSON", "no fields", "unknown frame", "frame of the other side"],
)  # fmt: skip
def test_runner_that_gets_no_proper_job_ends_with_a_complaint(
    engine: Engine, language: str, bytes_: bytes
) -> None:
    with guest(engine, spec(language)) as it:
        it.channel.send(bytes_)
        seen = it.until_end()
        state = engine.state_after_end(it.id)
    assert (seen.kinds, state.running, bool(seen.complaint)) == ("", False, True)
    # The direct engine keeps no exit status of a runner, whose frames tell how the program ended.
    assert state.exit_code == (1 if engine.name == "docker" else None)


def test_runner_ends_when_stdin_closes_before_the_job(docker_engine: Engine, language: str) -> None:
    """Only Docker closes it: the direct engine's FIFO stays open in the sandbox itself."""
    with closing(docker.APIClient(version="1.43")) as api:
        container = api.create_container_from_config(container_config(spec(language)) | {"StdinOnce": True})["Id"]
    channel: Any = docker_engine.attach(container)
    try:
        docker_engine.start(container)
        wait_until_ready(channel, container)
        channel._sock.shutdown(socket.SHUT_WR)
        assert channel.receive() is None
    finally:
        channel.close()
    assert docker_engine.state_after_end(container).exit_code == 0


# -- preloading ---------------------------------------------------------------------------------------------

IDLE_MODULE = {"python": "pandas", "nodejs": "axios"}
IS_LOADED = {
    "python": "import sys\nloaded = 'pandas' in sys.modules\ndef main(): return loaded",
    "nodejs": "const loaded = Object.keys(require.cache).some((f) => f.includes('axios'));\n"
    "function main() { return loaded; }",
}


def idle(engine: Engine, language: str, seconds: float) -> bytes | None:
    with guest(engine, spec(language, runner_config={"preload_when_idle": [IDLE_MODULE[language]]})) as it:
        time.sleep(seconds)
        return it.run(job(IS_LOADED[language], language)).result


def test_preload_is_there_before_the_hello(engine: Engine, language: str) -> None:
    with guest(engine, spec(language, runner_config={"preload": [IDLE_MODULE[language]]})) as it:
        assert it.run(job(IS_LOADED[language], language)).result == b"true"


def test_preload_when_idle_is_there_after_a_while(engine: Engine, language: str) -> None:
    assert any(idle(engine, language, seconds) == b"true" for seconds in (3, 6, 12, 24))


@pytest.mark.parametrize("seconds", [0.5, 0.7, 1.0])
def test_job_in_the_middle_of_idle_preloading_is_served(engine: Engine, language: str, seconds: float) -> None:
    assert idle(engine, language, seconds) in (b"true", b"false")


def test_job_is_served_though_what_is_to_be_preloaded_when_idle_does_not_exist(
    engine: Engine, language: str
) -> None:
    with guest(engine, spec(language, runner_config={"preload_when_idle": ["no-such-module"]})) as it:
        time.sleep(1.5)
        assert it.run(job(IS_LOADED[language], language)).result == b"false"


def test_sandbox_whose_preload_does_not_exist_ends_with_a_complaint(engine: Engine, language: str) -> None:
    it = Guest(engine, spec(language, runner_config={"preload": ["no-such-module"]}))
    try:
        seen = it.until_end()
    finally:
        it.remove()
    assert (seen.kinds, "no-such-module" in seen.complaint) == ("", True)
