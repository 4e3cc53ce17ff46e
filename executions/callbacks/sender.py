"""Sends one HTTP request to a checked address. Redirects are not followed, and only the status is read."""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sandbox_platform.kit import addresses
from sandbox_platform.kit.addresses import Address, Refused, Target

CONNECT_S = 5.0
TOTAL_S = 15.0
ADDRESSES_TRIED = 3
GONE = 410

Resolver = Callable[[Target], list[Address]]


@dataclass(frozen=True)
class Answer:
    status_code: int | None
    error: str
    duration_ms: int
    final: bool = False  # a retry cannot succeed

    @property
    def is_success(self) -> bool:
        return self.status_code is not None and 200 <= self.status_code < 300


def post(url: str, body: bytes, headers: dict[str, str], *, resolve: Resolver = addresses.resolve) -> Answer:
    """Send the request and return its result. Raises nothing, whatever the receiver does."""
    begin = time.monotonic()

    def answer(status_code: int | None, error: str = "", *, final: bool = False) -> Answer:
        return Answer(status_code, error[:300], round((time.monotonic() - begin) * 1000), final)

    try:
        target = Target.parse(url)
        connection = Connection(target, resolve(target))
    except Refused as e:
        return answer(None, str(e), final=True)
    except OSError:
        return answer(None, "DNS does not know the host.")
    try:
        status_code = connection.post(body, headers)
    except (OSError, http.client.HTTPException) as e:
        late = connection.timed_out or isinstance(e, TimeoutError)
        return answer(None, "No response in time." if late else f"No response: {type(e).__name__}.")
    finally:
        connection.close()
    if connection.timed_out:  # a response that was cut off in its header still parses
        return answer(None, "No response in time.")
    if status_code == GONE:
        return answer(status_code, "410 Gone: the receiver wants no more callbacks.", final=True)
    if 300 <= status_code < 400:
        return answer(status_code, "Redirects are not followed.")
    return answer(status_code, "" if 200 <= status_code < 300 else "Not a success status (2xx).")


class Connection(http.client.HTTPConnection):
    """A connection to one of the checked addresses, without another DNS lookup. Host header and TLS use the name."""

    def __init__(self, target: Target, allowed: list[Address]) -> None:
        super().__init__(target.host, target.port)
        self.default_port = addresses.PORTS[target.scheme]  # the Host header omits the default port
        self._target = target
        self._allowed = allowed
        # A socket timeout is not enough: a server that sends a byte now and then never exceeds it.
        self._watchdog = threading.Timer(TOTAL_S, self._cut)
        self._watchdog.daemon = True
        self._socket: socket.socket | None = None
        self.timed_out = False

    def post(self, body: bytes, headers: dict[str, str]) -> int:
        self._watchdog.start()
        self.request("POST", self._target.path, body, headers)
        return self.getresponse().status

    def connect(self) -> None:
        self._socket = self.sock = self._dial()
        self.sock.settimeout(TOTAL_S)
        if self._target.scheme == "https":
            # The TLS socket takes over the descriptor, so the watchdog keeps a duplicate.
            self._socket = self.sock.dup()
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(self.sock, server_hostname=self._target.host)

    def _dial(self) -> socket.socket:
        tried = self._allowed[:ADDRESSES_TRIED]
        for address in tried[:-1]:
            try:
                return self._reach(address, CONNECT_S / len(tried))
            except OSError:
                continue  # typically an IPv6 address on a host without IPv6
        return self._reach(tried[-1], CONNECT_S / len(tried))

    def _reach(self, address: Address, timeout: float) -> socket.socket:
        return socket.create_connection((str(address), self._target.port), timeout)

    def _cut(self) -> None:
        self.timed_out = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # already closed
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._watchdog.cancel()
        super().close()
        if self._socket is not None:
            self._socket.close()
