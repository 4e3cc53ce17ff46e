"""What the host enforces on a live sandbox: the seccomp profile and the memory limit."""

import json
from dataclasses import replace

import pytest

from runtimes.models import MIB
from sandboxes.engine import Engine
from sandboxes.session import Session
from tests.sandboxes.guest import LIMITS, each_engine, guest, job, spec

__all__ = ["each_engine"]
pytestmark = pytest.mark.needs_docker

NO_MKDIR = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
}


def test_seccomp_profile_is_obeyed_inside(each_engine: Engine) -> None:
    code = """
import errno, os
def main():
    try:
        os.mkdir("/workspace/folder")
    except OSError as e:
        return errno.errorcode[e.errno]
"""
    with guest(each_engine, spec(seccomp=json.dumps(NO_MKDIR))) as it:
        assert it.run(job(code)).result == b'"EPERM"'


# The file is written from a pipe, so that it is not the program's own memory that is counted.
FILLS = {
    folder: f"import os\ndef main(): os.system('head -c 300000000 /dev/zero > {folder}/x')"
    for folder in ("/dev/shm", "/home/nobody")
} | {"the program's own": "def main(): return len(b'x' * (300 << 20))"}


@pytest.mark.parametrize("memory", FILLS)
def test_memory_limit_kills_the_sandbox_and_the_kernel_says_so(each_engine: Engine, memory: str) -> None:
    limits = replace(LIMITS, memory_bytes=96 * MIB, workspace_bytes=400 * MIB)
    with guest(each_engine, spec(limits=limits)) as it:
        code = FILLS[memory]
        report = Session(it.channel, it.id, limits).run(job(code))
        assert report.oom_killed or each_engine.state_after_end(it.id).oom_killed
