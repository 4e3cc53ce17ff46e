import socket
import threading
from collections.abc import Iterator

import pytest

from bench.chaos.relay import Relay


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            while data := sock.recv(1024):
                sock.sendall(data)
            sock.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.fixture
def relay(echo: int) -> Iterator[Relay]:
    it = Relay(lambda: echo)
    yield it
    it.close()


def test_it_carries_both_ways(relay: Relay) -> None:
    with socket.create_connection(("127.0.0.1", relay.port), timeout=10) as sock:
        sock.sendall(b"there")
        assert sock.recv(1024) == b"there"


def test_what_is_sent_while_it_is_cut_arrives_afterwards(relay: Relay) -> None:
    with socket.create_connection(("127.0.0.1", relay.port), timeout=10) as sock:
        sock.sendall(b"before")
        assert sock.recv(1024) == b"before"
        relay.cut()
        sock.sendall(b"meanwhile")
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sock.recv(1024)
        relay.mend()
        sock.settimeout(10)
        assert sock.recv(1024) == b"meanwhile"


def test_who_connects_to_a_dead_server_is_let_go() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    relay = Relay(lambda: port)
    with socket.create_connection(("127.0.0.1", relay.port), timeout=10) as sock:
        assert sock.recv(1024) == b""
    relay.close()
