"""A sandbox's stdin, stdout and stderr: three FIFOs of the host, which any process of the node may open."""

import contextlib
import os
import select
import time
from pathlib import Path

from sandboxes.engine import EngineError

STREAMS = ("stdin", "stdout", "stderr")
CHUNK = 1 << 18
SEND_TIMEOUT_S = 60


def make(folder: Path) -> None:
    for name in STREAMS:
        os.mkfifo(folder / name, 0o600)


class FifoChannel:
    """Whoever opens a channel closes it. What the sandbox wrote before stays in the FIFOs, as far as they hold it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # One descriptor for select that stands for both outputs.
        self._ready = select.epoll()
        self._stdin = -1
        self._outputs: list[int] = []
        try:
            for name in STREAMS[1:]:
                # Nonblocking: it must not wait for the sandbox's end. Before the start there is none.
                fd = os.open(folder / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._outputs.append(fd)
                self._ready.register(fd, select.EPOLLIN)
        except OSError as e:
            self.close()
            raise EngineError(f"attach: {e}") from e
        self._open = set(self._outputs)

    def fileno(self) -> int:
        return self._ready.fileno()

    def receive(self) -> tuple[bytes, bytes] | None:
        received = [self._read(fd) for fd in self._outputs]
        if not self._open and not any(received):
            return None
        return received[0], received[1]

    def _read(self, fd: int) -> bytes:
        if fd not in self._open:
            return b""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return b""
        if not data:
            self._open.discard(fd)
            self._ready.unregister(fd)
        return data

    def send(self, data: bytes) -> None:
        deadline = time.monotonic() + SEND_TIMEOUT_S
        view = memoryview(data)
        try:
            if self._stdin < 0:
                self._stdin = os.open(self._folder / "stdin", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            while view:
                try:
                    view = view[os.write(self._stdin, view) :]
                except BlockingIOError:
                    if not select.select([], [self._stdin], [], max(0, deadline - time.monotonic()))[1]:
                        raise TimeoutError("the sandbox reads nothing") from None
        except OSError as e:
            raise EngineError(f"attach: {e}") from e

    def close(self) -> None:
        self._ready.close()
        for fd in (self._stdin, *self._outputs):
            with contextlib.suppress(OSError):
                os.close(fd)
        self._stdin, self._outputs = -1, []
