"""A connection's socket that knows how large its answer is, and how long that has waited for the caller to read it."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Outgoing(socket.socket):
    def __init__(self, sock: socket.socket) -> None:
        """Take the connection over."""
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self.sent_bytes = 0  # of the present answer, without what sendfile sends
        self._waited = 0.0
        self._since: float | None = None

    def begin(self) -> None:
        """A new answer begins."""
        self.sent_bytes = 0
        self._waited = 0.0

    def waited(self, now: float) -> float:
        """Return the seconds that the present answer has spent in sending. Called from another thread."""
        since = self._since
        return self._waited + (now - since if since is not None else 0.0)

    def sendall(self, data: bytes, *flags: int) -> None:
        self.sent_bytes += len(data)
        with self._timed():
            super().sendall(data, *flags)

    def sendfile(self, *arguments: Any, **named: Any) -> int:
        with self._timed():
            return super().sendfile(*arguments, **named)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = self._since = time.monotonic()
        try:
            yield
        finally:
            self._waited += time.monotonic() - began
            self._since = None
