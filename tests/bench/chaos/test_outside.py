"""Which process is the proxy's."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bench.chaos import outside
from bench.chaos.outside import Outside, start_of


class Container:
    """As Docker's client has it: what it was when it was last asked."""

    def __init__(self) -> None:
        self.pid, self.status, self.started = 0, "running", 0
        self.attrs: dict[str, Any] = {}

    def reload(self) -> None:
        self.attrs = {"State": {"Pid": self.pid}}

    def start(self) -> None:
        self.pid, self.status, self.started = os.getppid(), "running", self.started + 1


@pytest.fixture
def container() -> Container:
    return Container()


@pytest.fixture
def its(container: Container, tmp_path: Path) -> Iterator[Outside]:
    with ExitStack() as stack:
        its = Outside(tmp_path)
        for relay in its.relays:
            stack.callback(relay.close)
        its._proxy = container
        yield its


def test_proxy_that_docker_restarted_is_found(container: Container, its: Outside) -> None:
    container.pid = os.getpid()
    assert its.pids()[0] == os.getpid()
    container.pid = os.getppid()
    its._known = os.getpid(), "1"  # another process has the number by now
    assert its.pids() == []
    its.revive()
    assert (its.pids()[0], container.started) == (os.getppid(), 0)


def test_proxy_that_has_ended_is_started(
    container: Container, its: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside, "descendants", lambda pid: [])
    container.status = "exited"
    assert its.pids() == []
    its.revive()
    assert (its.pids(), container.started) == ([os.getppid()], 1)


def test_start_of_a_process() -> None:
    assert start_of(os.getpid()).isdecimal()
    assert start_of(0) == ""
