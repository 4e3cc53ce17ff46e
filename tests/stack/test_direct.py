"""The stack with the direct engine, as `make` starts it where a trial succeeds."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from sandbox_platform.doctor.direct import NEEDED
from sandboxes.direct.images import available
from scripts.setup import direct
from scripts.setup.compose import DIRECT_FILE
from tests.live import eventually
from tests.stack.conftest import Stack

pytestmark = [
    pytest.mark.needs_docker,
    pytest.mark.needs_stack,
    pytest.mark.skipif(not available(), reason="this machine has no mkfs.erofs"),
]
FOLDERS = Path("/run/sandbox-platform/sandboxes")


def sandboxes(stack: Stack) -> set[str]:
    found = set()
    for path in FOLDERS.glob("*/sandbox.json"):
        try:
            if json.loads(path.read_text())["node"] == stack.node:
                found.add(path.parent.name)
        except FileNotFoundError:
            continue  # removed meanwhile
    return found


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    stack = Stack(DIRECT_FILE)
    try:
        stack.start()
        yield stack
    finally:
        stack.remove()
        removed = direct.remove_sandboxes(stack.node)
    # They outlive their containers.
    assert removed
    assert sandboxes(stack) == set()


def run(stack: Stack, runtime: str, code: str) -> dict[str, object]:
    answer = requests.post(
        f"{stack.url}/api/v1/executions",
        json={"runtime": runtime, "code": code, "wait": 30},
        headers={"Authorization": f"Bearer {stack.token}"},
        timeout=60,
    )
    return dict(answer.json())


@pytest.mark.parametrize(("runtime", "code"), [("python", "print(6 * 7)"), ("nodejs", "console.log(6 * 7)")])
def test_a_program_runs_and_its_engine_is_recorded(stack: Stack, runtime: str, code: str) -> None:
    ended = run(stack, runtime, code)
    assert (ended["stdout"], ended["engine"]) == ("42\n", "direct")


def test_memory_beyond_the_limit_is_told(stack: Stack) -> None:
    ended = run(stack, "python", "x = b'x' * 10**9")
    assert (ended["status"], ended["outcome"]) == ("out_of_memory", "memory")


@pytest.mark.parametrize("service", ["worker", "keeper"])
def test_the_nodes_processes_have_the_rights_that_are_listed_and_no_others(stack: Stack, service: str) -> None:
    host = stack.inspect(service)["HostConfig"]
    assert sorted(one.removeprefix("CAP_") for one in host["CapAdd"]) == sorted(NEEDED)
    assert (host["CapDrop"], host["Privileged"], host["ReadonlyRootfs"]) == (["ALL"], False, True)
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert not host["Devices"]


@pytest.mark.parametrize("service", ["web", "callbacks", "egress", "postgres"])
def test_other_processes_get_no_rights(stack: Stack, service: str) -> None:
    host = stack.inspect(service)["HostConfig"]
    assert not host["CapAdd"]
    assert (host["PidMode"], host["CgroupnsMode"]) != ("host", "host")


def test_the_doctor_finds_nothing_broken(stack: Stack) -> None:
    done = stack.compose("exec", "-T", "worker", "python3", "manage.py", "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "direct" in done.stdout


def test_sandboxes_outlive_a_keeper_that_is_killed(stack: Stack) -> None:
    eventually(lambda: len(sandboxes(stack)) >= 2, "the pool is full")
    before = sandboxes(stack)
    stack.compose("kill", "keeper")
    assert sandboxes(stack) == before
    stack.compose("start", "keeper")
    assert run(stack, "python", "print(1)")["warm"] is True
