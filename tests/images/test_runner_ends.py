"""How programs end, and how much of what they write arrives: every image's runner."""

import pytest

from sandboxes.engine import Engine
from tests.sandboxes.guest import LIMITS, Seen, guest, job, run, spec

pytestmark = pytest.mark.needs_docker


# -- how programs end ---------------------------------------------------------------------------------------

RAISES = {
    "python": "def main(): raise ValueError('too bad')",
    "nodejs": "function main() { throw new Error('too bad'); }",
}


def test_uncaught_error_is_exit_one_with_its_text_on_stderr(engine: Engine, language: str) -> None:
    seen = run(engine, RAISES[language], language)
    assert seen.end is not None
    assert (seen.end.exit_code, b"too bad" in seen.stderr, seen.result) == (1, True, None)


KILLS_ITSELF = {
    "python": "import os, signal\ndef main(): os.kill(os.getpid(), signal.SIGKILL)",
    "nodejs": "function main() { process.kill(process.pid, 'SIGKILL'); for (;;); }",
}


def test_signal_is_told_apart_from_an_exit_status(engine: Engine, language: str) -> None:
    end = run(engine, KILLS_ITSELF[language], language).end
    assert end is not None
    assert (end.exit_code, end.signal) == (None, 9)


GOES_ON = {
    "python": "import threading, time\n"
    "def later():\n    time.sleep(1.5)\n    print('later')\n"
    "def main():\n    threading.Thread(target=later).start()\n    return 1",
    "nodejs": "function main() { setTimeout(() => console.log('later'), 1500); return 1; }",
}


def test_what_main_left_running_runs_to_its_own_end(engine: Engine, language: str) -> None:
    seen = run(engine, GOES_ON[language], language)
    assert seen.end is not None
    assert (seen.stdout, seen.result, seen.end.exit_code) == (b"later\n", b"1", 0)


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


def test_daemons_that_hold_the_pipes_do_not_hold_the_run(engine: Engine, language: str) -> None:
    # They would sleep for longer than the test waits.
    seen = run(engine, DAEMONS[language], language)
    assert seen.end is not None
    assert (seen.result, seen.end.exit_code) == (b"1", 0)


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


def test_processes_that_fork_for_ever_do_not_hold_the_run(engine: Engine) -> None:
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
def cut_run(engine: Engine, language: str) -> Seen:
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


def test_output_over_the_limit_ends_the_run_where_the_job_says_so(engine: Engine, language: str) -> None:
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


def test_output_may_be_any_bytes(engine: Engine, language: str) -> None:
    seen = run(engine, BYTES[language], language)
    assert (seen.stdout, seen.stderr) == (bytes(range(256)), bytes(range(255, -1, -1)))


LARGE_RESULT = {
    "python": "def main(): return 'D' * 200000",
    "nodejs": "function main() { return 'D'.repeat(200000); }",
}


def test_result_over_the_limit_is_not_sent_but_its_size_is(engine: Engine, language: str) -> None:
    seen = run(engine, LARGE_RESULT[language], language, result_bytes=2000)
    assert seen.end is not None
    assert (seen.result, seen.end.result_bytes, seen.end.exit_code) == (None, 200_002, 0)


def test_result_may_be_as_large_as_the_limit(engine: Engine, language: str) -> None:
    seen = run(engine, LARGE_RESULT[language], language, result_bytes=200_002)
    assert seen.result == b'"' + b"D" * 200_000 + b'"'
