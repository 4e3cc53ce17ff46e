"""Defects 1 to 6 and 9 of RAGFlow's executor manager (docs/ragflow.md): what a run leaves behind."""

import socket

import pytest

from tests.live import eventually

pytestmark = [pytest.mark.needs_docker, pytest.mark.usefixtures("no_policy")]

# Everything that could outlive a run: files, a process of its own session, environment, sockets.
PLANT = """
import os, socket, sys, time
def main():
    for folder in ("/tmp", "/workspace", "/dev/shm", "/var/tmp", "/run", os.path.expanduser("~")):
        try: open(folder + "/canary", "w").write("canary")
        except OSError: pass
    os.environ["CANARY"] = "1"
    server = socket.socket()
    server.bind(("127.0.0.1", 7777))
    server.listen()
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\\0canary")
    abstract.listen()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(3600)
        os._exit(0)
    return "planted"
"""
LOOK = """
import os, socket
def main():
    found = []
    for top in ("/tmp", "/workspace", "/dev/shm", "/var/tmp", "/run", os.path.expanduser("~")):
        for folder, _, files in os.walk(top):
            found += [folder + "/" + name for name in files if "canary" in name]
    found += [name for name in os.environ if "CANARY" in name]
    found += [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) not in (1, os.getpid())]
    for family, address in ((socket.AF_INET, ("127.0.0.1", 7777)), (socket.AF_UNIX, "\\0canary")):
        try:
            socket.socket(family).connect(address)
            found.append(repr(address))
        except OSError:
            pass
    return found
"""


def test_01_02_later_runs_find_nothing_of_an_earlier_one(platform):
    assert platform.run(PLANT)["result"]["value"] == "planted"
    for _ in range(2):
        assert platform.run(LOOK)["result"]["value"] == []


def test_01_the_look_would_find_what_is_there(platform):
    """Otherwise the test above proves nothing: the same look, in the sandbox of the canary."""
    code = PLANT.replace("def main", "def plant") + LOOK.replace("def main", "def look")
    found = platform.run(code + "\ndef main():\n    plant()\n    return look()")["result"]["value"]
    assert {"/tmp/canary", "/workspace/canary", "CANARY", "('127.0.0.1', 7777)"} <= set(found)
    assert any(item.isdigit() for item in found)


def test_02_every_run_has_a_sandbox_of_its_own_which_goes(platform):
    sandboxes = []
    for _ in range(3):
        platform.run("def main(): return 1")
        sandboxes.append(platform.last_execution()["sandbox_id"])
    assert len(set(sandboxes)) == 3
    for sandbox in sandboxes:
        eventually(lambda sandbox=sandbox: sandbox not in platform.sandboxes(), "the sandbox is gone")


def test_03_packages_cannot_be_replaced(platform):
    code = """
const fs = require('node:fs');
function main() {
  const attempts = {
    replace: () => fs.writeFileSync('/node_modules/axios/index.js', 'EVIL'),
    plant: () => fs.mkdirSync('/node_modules/evil'),
    worker: () => fs.writeFileSync('/opt/sandbox/worker.js', 'EVIL'),
    node: () => fs.writeFileSync(process.execPath, 'EVIL'),
  };
  const succeeded = [];
  for (const [name, attempt] of Object.entries(attempts)) try { attempt(); succeeded.push(name); } catch {}
  return succeeded;
}
"""
    assert platform.run(code, "nodejs")["result"]["value"] == []


def test_03_planted_packages_do_not_reach_the_next_run(platform):
    plant = """
const fs = require('node:fs');
function main() {
  fs.mkdirSync('/workspace/node_modules/axios', {recursive: true});
  fs.writeFileSync('/workspace/node_modules/axios/index.js', 'module.exports = "EVIL"');
  return require('axios');
}
"""
    assert platform.run(plant, "nodejs")["result"]["value"] == "EVIL"
    look = "function main() { return typeof require('axios').get; }"
    assert platform.run(look, "nodejs")["result"]["value"] == "function"


FILL = "def main():\n    with open({!r}, 'wb') as f:\n        while True: f.write(b'x' * 2**20)"


@pytest.mark.parametrize("path", ["/workspace/big", "/tmp/big"])
def test_04_full_disk_is_the_programs_error_and_nobody_elses(platform, path: str):
    answer = platform.run(FILL.format(path))
    assert (answer["status"], "No space left" in answer["stderr"]) == ("program_error", True)
    assert platform.run("def main(): open('a', 'w').write('x' * 2**20)")["status"] == "success"


def test_05_program_that_ignores_sigterm_ends_at_its_time_with_its_children(platform, set_columns):
    set_columns("python", wall_time_ms=1500)
    code = """
import signal, subprocess
def main():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["/bin/sh", "-c", "trap '' TERM INT HUP; while :; do :; done"], start_new_session=True)
    while True: pass
"""
    answer = platform.run(code)
    assert (answer["exit_code"], answer["resource_limit_type"]) == (-124, "time")
    sandbox = platform.last_execution()["sandbox_id"]
    eventually(lambda: sandbox not in platform.sandboxes(), "the sandbox is gone")


def test_06_no_service_of_the_host_can_be_reached(platform):
    """A server on every address of the host, called from inside on those that a container could know."""
    server = socket.create_server(("0.0.0.0", 0))  # noqa: S104
    server.setblocking(
        False
    )  # the kernel completes a connection without accept(): whoever called waits in the backlog
    code = """
import socket
def main(port):
    reached = []
    for host in ("172.17.0.1", "172.18.0.1", "10.0.0.1", "169.254.169.254", "host.docker.internal", "1.1.1.1"):
        try:
            socket.create_connection((host, port), timeout=0.5)
            reached.append(host)
        except OSError:
            pass
    return [reached, [name for _, name in socket.if_nameindex()]]
"""
    answer = platform.run(code, arguments={"port": server.getsockname()[1]})
    assert answer["result"]["value"] in ([[], []], [[], ["lo"]])
    with server, pytest.raises(BlockingIOError):
        server.accept()


def test_run_is_inside_gvisor(platform):
    code = "import subprocess\ndef main(): return subprocess.run(['dmesg'], capture_output=True, text=True).stdout"
    assert "Starting gVisor" in platform.run(code)["result"]["value"]


ATTACK_RUNNER = """
import ctypes, os, signal
def main():
    succeeded = []
    def attempt(name, action):
        try:
            if action() is not False: succeeded.append(name)
        except OSError:
            pass
    attempt("signal", lambda: os.kill(1, signal.SIGKILL))
    attempt("everybody", lambda: os.kill(1, signal.SIGSTOP))
    attempt("memory", lambda: open("/proc/1/mem", "r+b"))
    # The other ends of its own stdin, stdout and stderr carry only what is its own.
    own = {os.fstat(fd).st_ino for fd in (0, 1, 2)}
    for fd in range(32):
        attempt(f"fd {fd}", lambda: os.fstat(os.open(f"/proc/1/fd/{fd}", os.O_RDWR)).st_ino not in own)
    attempt("root", lambda: os.setuid(0))
    attempt("runner's file", lambda: open("/opt/sandbox/runner.py", "w"))
    libc = ctypes.CDLL(None)
    attempt("ptrace", lambda: libc.ptrace(16, 1, 0, 0) == 0)  # PTRACE_ATTACH
    return succeeded
"""


def test_guest_cannot_touch_its_runner(platform):
    answer = platform.run(ATTACK_RUNNER)
    assert answer["result"]["value"] == [], answer["stderr"]


DENY_SOCKET = (
    '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["socket"], "action": "SCMP_ACT_ERRNO"}]}'
)


@pytest.fixture
def profile_without_sockets(platform):
    platform.manage(
        "shell", "-c",
        "import json; from seccomp_profiles import revisions;"
        f" revisions.create_profile('no-sockets', json.loads({DENY_SOCKET!r}))",
    )  # fmt: skip
    (row,) = platform.sql("SELECT id FROM seccomp_profiles_seccompprofile WHERE name = 'no-sockets'")
    platform.change_runtime("python", seccomp_profile_id=row["id"])
    yield
    platform.change_runtime("python", seccomp_profile_id=None)


def test_09_seccomp_profile_of_a_runtime_really_holds(platform, profile_without_sockets):
    answer = platform.run("import socket\ndef main(): socket.socket()")
    assert "Operation not permitted" in answer["stderr"]
    assert platform.last_execution()["profile_name"] == "no-sockets"
