"""A connection's socket that knows how large its answer is, and how long that has waited for the caller to read it."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Beyond, sending waits for the caller to read.
BUFFERED = 64 * 1024


class Outgoing(socket.socket):
    def __init__(self, sock: socket.socket) -> None:
        """Take the connection over."""
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self.sent_bytes = 0  # of the present answer, without what sendfile sends
        self._waited = 0.0
        self._since: float | None = None
        self._when_waiting: Callable[[], None] | None = None

    def begin(self, when_waiting: Callable[[], None]) -> None:
        """A new answer begins, which calls this once it is so large that it may wait for the caller."""
        self.sent_bytes = 0
        self._waited = 0.0
        self._when_waiting = when_waiting

    def waited(self, now: float) -> float:
        """Return the seconds that the present answer has spent in sending. Called from another thread."""
        since = self._since
        return self._waited + (now - since if since is not None else 0.0)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        self.sent_bytes += len(data)
        if self.sent_bytes > BUFFERED:
            self._may_wait()
        with self._timed():
            super().sendall(data, flags)

    def sendfile(self, *arguments: Any, **named: Any) -> int:
        self._may_wait()
        with self._timed():
            return super().sendfile(*arguments, **named)

    def _may_wait(self) -> None:
        if call := self._when_waiting:
            self._when_waiting = None
            call()

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = self._since = time.monotonic()
        try:
            yield
        finally:
            self._waited += time.monotonic() - began
            self._since = None
