"""A channel over real FIFOs, with this process in the place of the sandbox."""

import os
import select
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandboxes.direct.channel import STREAMS, FifoChannel, make
from sandboxes.engine import EngineError


@dataclass
class Sandbox:
    folder: Path
    stdin: int
    stdout: int
    stderr: int

    def end(self) -> None:
        for fd in (self.stdin, self.stdout, self.stderr):
            os.close(fd)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    make(tmp_path)
    yield Sandbox(tmp_path, *(os.open(tmp_path / name, os.O_RDWR) for name in STREAMS))


def is_readable(channel: FifoChannel) -> bool:
    return bool(select.select([channel], [], [], 0)[0])


def test_both_outputs_arrive_apart(sandbox: Sandbox) -> None:
    with closing(FifoChannel(sandbox.folder)) as channel:
        os.write(sandbox.stdout, b"out")
        os.write(sandbox.stderr, b"err")
        assert is_readable(channel)
        assert channel.receive() == (b"out", b"err")
        assert not is_readable(channel)


def test_what_was_written_between_two_channels_is_there(sandbox: Sandbox) -> None:
    FifoChannel(sandbox.folder).close()
    os.write(sandbox.stdout, b"hello")
    with closing(FifoChannel(sandbox.folder)) as channel:
        assert channel.receive() == (b"hello", b"")


def test_the_end_comes_after_the_last_output(sandbox: Sandbox) -> None:
    with closing(FifoChannel(sandbox.folder)) as channel:
        os.write(sandbox.stdout, b"last")
        sandbox.end()
        assert is_readable(channel)
        assert channel.receive() == (b"last", b"")
        assert is_readable(channel)
        assert channel.receive() is None


def test_a_channel_before_the_start_is_silent(tmp_path: Path) -> None:
    make(tmp_path)
    with closing(FifoChannel(tmp_path)) as channel:
        assert not is_readable(channel)


def test_more_than_the_pipe_holds_is_sent_whole(sandbox: Sandbox) -> None:
    import threading

    sent = os.urandom(1 << 20)
    received = b""
    with closing(FifoChannel(sandbox.folder)) as channel:
        sender = threading.Thread(target=channel.send, args=(sent,))
        sender.start()
        while len(received) < len(sent):
            received += os.read(sandbox.stdin, 1 << 16)
        sender.join()
    assert received == sent


def test_sending_to_a_sandbox_that_ended_is_an_error(sandbox: Sandbox) -> None:
    with closing(FifoChannel(sandbox.folder)) as channel:
        channel.send(b"x")
        sandbox.end()
        with pytest.raises(EngineError, match="attach"):
            channel.send(b"y")


def test_a_sandbox_without_a_folder_has_no_channel(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="attach"):
        FifoChannel(tmp_path / "gone")
