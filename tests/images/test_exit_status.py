"""Workers that tell their exit status before their memory is freed."""

import json

import pytest

from sandboxes.engine import Engine
from tests.sandboxes.guest import guest, inside, job, run, spec

pytestmark = pytest.mark.needs_docker

NO_FIFO = json.dumps(
    {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mknod", "mknodat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    }
)
EXITS = {"python": "import sys\nsys.exit(5)", "nodejs": "process.exit(5)"}


def test_status_is_told_before_the_end_of_the_process(engine: Engine, language: str) -> None:
    with guest(engine, spec(language)) as it:
        end = it.run(job(EXITS[language], language, mode="script")).end
        states = inside(engine, it.id, "sh", "-c", "grep -h State: /proc/[0-9]*/status")
    assert end is not None
    assert (end.exit_code, end.signal) == (5, None)
    assert b"T (stopped)" in states


def test_a_profile_that_forbids_the_fifo_changes_no_status(engine: Engine, language: str) -> None:
    with guest(engine, spec(language, seccomp=NO_FIFO)) as it:
        end = it.run(job(EXITS[language], language, mode="script")).end
    assert end is not None
    assert end.exit_code == 5


def test_a_removed_fifo_changes_no_status(engine: Engine, language: str) -> None:
    remove = {
        "python": "import os\nos.unlink('/run/sandbox/exit')\n",
        "nodejs": "require('fs').unlinkSync('/run/sandbox/exit');\n",
    }
    end = run(engine, remove[language] + EXITS[language], language, mode="script").end
    assert end is not None
    assert end.exit_code == 5


def test_what_the_c_library_holds_is_written_before(engine: Engine) -> None:
    code = """
import ctypes
libc = ctypes.CDLL(None)
libc.printf(b"held\\n")
libc.fopen.restype = ctypes.c_void_p
file = libc.fopen(b"artifacts/c.txt", b"w")
libc.fputs(b"kept", ctypes.c_void_p(file))
"""
    seen = run(engine, code, mode="script")
    assert (seen.stdout, seen.artifacts) == (b"held\n", {"c.txt": b"kept"})


def test_a_forks_end_is_not_the_programs(engine: Engine) -> None:
    code = """
import os, sys, time
if os.fork() == 0:
    sys.exit(9)
os.wait()
time.sleep(0.2)
print("parent")
"""
    seen = run(engine, code, mode="script")
    assert seen.end is not None
    assert (seen.stdout, seen.end.exit_code) == (b"parent\n", 0)


def test_files_of_a_stopped_program_are_sent(engine: Engine, language: str) -> None:
    writes = {
        "python": "open('artifacts/x.txt', 'w').write('there')",
        "nodejs": "require('fs').writeFileSync('artifacts/x.txt', 'there')",
    }
    assert run(engine, writes[language], language, mode="script").artifacts == {"x.txt": b"there"}
