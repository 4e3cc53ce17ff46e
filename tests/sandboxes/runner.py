"""A runner that a test plays itself, over a pair of sockets."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from sandboxes.docker_engine import DockerChannel

CONTAINER = "c" * 64


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + len(payload).to_bytes(4, "big") + payload


class Runner:
    """The other end of the attach stream."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def say(self, data: bytes, stream: int = 1) -> None:
        for at in range(0, len(data), 32768):
            part = data[at : at + 32768]
            self.sock.sendall(bytes([stream, 0, 0, 0]) + len(part).to_bytes(4, "big") + part)

    def leave(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)


@pytest.fixture
def cgroups(tmp_path: Path, settings: Settings) -> Path:
    settings.SANDBOX_CGROUP_ROOT = tmp_path
    return tmp_path


@pytest.fixture
def ends(cgroups: Path) -> Iterator[tuple[Runner, DockerChannel]]:
    theirs, ours = socket.socketpair()
    channel = DockerChannel(ours)
    yield Runner(theirs), channel
    theirs.close()
    channel.close()
