import pytest

from sandbox_platform.doctor.live import run_in_sandbox
from sandboxes.engine import SandboxSpec
from sandboxes.gvisor import is_current
from seccomp_profiles import revisions, shipped
from seccomp_profiles.advice import ALWAYS_NEEDED
from seccomp_profiles.models import SeccompProfile, docker_value
from seccomp_profiles.rules import in_words, outcomes
from seccomp_profiles.validators import validate_profile
from tests.sandboxes.guest import engine, guest, job, spec

__all__ = ["engine"]

# The runner becomes nobody with these, ends what the program left, and starts the program.
NEEDED = {
    "setgroups",
    "setresuid",
    "setresgid",
    "kill",
    "clone",
    "clone3",
    "execve",
}
DEFAULT = shipped.PROFILES["default"].rules


@pytest.mark.parametrize("name", shipped.PROFILES)
def test_shipped_profile_is_valid(db: None, name: str) -> None:
    shipped.create_missing()
    validate_profile(SeccompProfile.objects.get(name=name).rules)


def test_compute_profile_refuses_what_the_default_does_and_sockets(db: None) -> None:
    shipped.create_missing()
    found = outcomes(SeccompProfile.objects.get(name="compute").rules)
    assert {in_words(found[name]) for name in ("mount", "socket", "vfork")} == {"denied"}
    assert in_words(found["clone"]) == "allowed"


def test_default_profile_lets_the_runner_work() -> None:
    denied = {name for rule in DEFAULT["syscalls"] for name in rule["names"]}
    assert not denied & NEEDED


def test_create_missing_creates_each_once(db: None) -> None:
    assert shipped.create_missing() == list(shipped.PROFILES)
    assert shipped.create_missing() == []


def test_create_missing_keeps_an_administrators_rules(db: None) -> None:
    revisions.create_profile("default", {"defaultAction": "SCMP_ACT_ALLOW"})
    shipped.create_missing()
    assert SeccompProfile.objects.get(name="default").rules == {"defaultAction": "SCMP_ACT_ALLOW"}


UNSHARE = "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True); print(libc.unshare(0), ctypes.get_errno())"


PROGRAMS = {
    "python": """
import subprocess, threading
import pandas

def main():
    subprocess.Popen(["sleep", "1000"])  # for the runner to kill
    thread = threading.Thread(target=lambda: open("artifacts/here", "w").write("x"))
    thread.start()
    thread.join()
    return int(pandas.Series([1, 2]).sum()) + int(subprocess.check_output(["id", "-u"]))
""",
    "nodejs": """
const { execFileSync, spawn } = require('child_process');
const { Worker } = require('worker_threads');
require('axios');

async function main() {
  spawn('sleep', ['1000'], { stdio: 'ignore' }).unref();
  const wrote = new Worker("require('fs').writeFileSync('artifacts/here', 'x')", { eval: true });
  await new Promise((resolve) => wrote.on('exit', resolve));
  return 3 + Number(execFileSync('id', ['-u']));
}
""",
}


@pytest.mark.needs_docker
@pytest.mark.parametrize("language", PROGRAMS)
def test_default_profile_lets_programs_work(engine, language: str) -> None:
    filtered = spec(language, seccomp=docker_value(DEFAULT))
    with guest(engine, filtered) as it:
        seen = it.run(job(PROGRAMS[language], language))
    assert (seen.result, seen.stderr) == (b"65537", b"")
    assert list(seen.artifacts) == ["here"]


@pytest.mark.needs_docker
def test_default_profile_is_enforced(python_runtime) -> None:
    # unshare(0) asks for nothing and succeeds anywhere but under a filter.
    assert run_in_sandbox("python3", "-c", UNSHARE).output.split() == ["0", "0"]
    assert run_in_sandbox("python3", "-c", UNSHARE, seccomp=docker_value(DEFAULT)).output.split() == ["-1", "1"]


def rules_of(name: str) -> str:
    shipped.create_missing()
    return SeccompProfile.objects.get(name=name).docker_value


COMPUTING = {
    "python": PROGRAMS["python"],
    # Without another program: Node.js speaks to those over pairs of sockets.
    "nodejs": """
const { Worker } = require('worker_threads');
require('axios');

async function main() {
  const wrote = new Worker("require('fs').writeFileSync('artifacts/here', 'x')", { eval: true });
  await new Promise((resolve) => wrote.on('exit', resolve));
  return 65537;
}
""",
}
SOCKETS = {
    "python": """
import socket
def main():
    try:
        socket.socket()
    except OSError as e:
        return e.errno
""",
    "nodejs": """
const net = require('net');
function main() {
  return new Promise((resolve) => net.createServer().on('error', (e) => resolve(e.errno)).listen(0));
}
""",
}


@pytest.mark.needs_docker
@pytest.mark.parametrize("language", COMPUTING)
def test_compute_profile_lets_programs_work(engine, db: None, language: str) -> None:
    with guest(engine, spec(language, seccomp=rules_of("compute"))) as it:
        seen = it.run(job(COMPUTING[language], language))
    assert (seen.result, seen.stderr) == (b"65537", b"")


@pytest.mark.needs_docker
@pytest.mark.parametrize("language", SOCKETS)
def test_compute_profile_refuses_sockets(engine, db: None, language: str) -> None:
    with guest(engine, spec(language, seccomp=rules_of("compute"))) as it:
        seen = it.run(job(SOCKETS[language], language))
    assert (seen.result or b"").lstrip(b"-") == b"1"


@pytest.mark.needs_docker
@pytest.mark.parametrize("name", sorted(ALWAYS_NEEDED - {"clone"}))
def test_call_that_validation_calls_indispensable_is(engine, name: str) -> None:
    # A runner whose worker was ready at the first look says hello without poll, and needs it to wait for the job.
    with pytest.raises(AssertionError, match="the sandbox ended"), guest(engine, without(name)) as it:
        it.hello()


def without(name: str) -> SandboxSpec:
    rules = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [name], "action": "SCMP_ACT_ERRNO"}]}
    return spec(seccomp=docker_value(rules))


FORK = "import os\n\ndef main():\n    return os.fork()\n"


@pytest.mark.needs_docker
def test_clone_is_indispensable_to_older_releases_of_gvisor_and_to_whoever_forks(engine) -> None:
    try:
        with guest(engine, without("clone")) as it:
            assert b"PermissionError" in it.run(job(FORK)).stderr
    except AssertionError as e:
        assert not is_current(engine.version()) and "the sandbox ended" in str(e)
