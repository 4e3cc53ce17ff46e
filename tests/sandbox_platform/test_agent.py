"""The first process of a node's container, with services that are shell scripts."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATIENCE_S = 20
CODE = """
import json, logging, sys
from sandbox_platform import agent
logging.basicConfig()
agent.AGAIN_S = 0.05
agent.Agent(json.loads(sys.argv[1])).run()
"""
# Notes its start and its end, and its role.
SERVICE = """
import os, signal, sys, time
name, log = sys.argv[1:]
def note(what):
    with open(log, "a") as file:
        file.write(f"{name} {what}\\n")
def end(*_):
    time.sleep(0.2)
    note("ended")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
note(f"{os.getpid()} as {os.environ['SANDBOX_SERVICE']}")
while True:
    time.sleep(1)
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log").touch()
    return tmp_path / "log"


@pytest.fixture
def agent(tmp_path: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    commands = {name: [sys.executable, "-c", SERVICE, name, str(log)] for name in ("worker", "keeper")}
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, json.dumps(commands)],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "sandbox_platform.settings"},
    )
    eventually(lambda: len(started(log)) == 2, "both have started")
    yield process
    process.kill()
    process.wait()
    for pid in started(log).values():
        if os.path.exists(f"/proc/{pid}"):
            os.kill(pid, signal.SIGKILL)


def eventually(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def started(log: Path) -> dict[str, int]:
    """Return the newest process of each service."""
    lines = [line.split() for line in log.read_text().splitlines() if " as " in line]
    return {words[0]: int(words[1]) for words in lines}


def test_each_service_has_its_own_role(agent: subprocess.Popen[bytes], log: Path) -> None:
    roles = {line.split()[0]: line.split()[-1] for line in log.read_text().splitlines()}
    assert roles == {"worker": "worker", "keeper": "keeper"}


def test_service_that_dies_is_started_again_and_the_other_lives_on(
    agent: subprocess.Popen[bytes], log: Path
) -> None:
    before = started(log)
    os.kill(before["keeper"], signal.SIGKILL)
    eventually(lambda: started(log)["keeper"] != before["keeper"], "the keeper is back")
    assert started(log)["worker"] == before["worker"]


def test_worker_ends_before_the_keeper_is_told_to(agent: subprocess.Popen[bytes], log: Path) -> None:
    agent.terminate()
    assert agent.wait(PATIENCE_S) == 0
    assert [line for line in log.read_text().splitlines() if "ended" in line] == ["worker ended", "keeper ended"]


def test_service_that_dies_during_the_stop_stays_dead(agent: subprocess.Popen[bytes], log: Path) -> None:
    os.kill(started(log)["worker"], signal.SIGSTOP)  # so that it does not end by itself
    agent.terminate()
    time.sleep(0.2)
    os.kill(started(log)["worker"], signal.SIGKILL)
    assert agent.wait(PATIENCE_S) == 0
    assert len([line for line in log.read_text().splitlines() if " as " in line]) == 2


def test_processes_that_lost_their_parent_are_reaped(tmp_path: Path) -> None:
    """As the first process of a PID namespace, which is what it is in a container."""
    children = tmp_path / "children"
    orphan = f"(sleep 0.1 & echo $! > {tmp_path}/pid); sleep 1; ls /proc | grep -c '^[0-9]' > {children}; sleep 60"
    code = CODE.replace("json.loads(sys.argv[1])", repr({"worker": ["/bin/sh", "-c", orphan]}))
    process = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", code],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "sandbox_platform.settings"},
    )
    try:
        eventually(lambda: children.exists() and bool(children.read_text()), "the orphan has ended")
        # The agent, its service, ls and grep: no zombie.
        assert children.read_text() == "4\n"
    finally:
        process.kill()
        process.wait()
