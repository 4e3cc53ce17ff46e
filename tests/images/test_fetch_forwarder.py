"""The forwarder of the fetching image: the only way from a build to a network. Real sockets on loopback."""

import asyncio
import base64
import importlib.util
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.live import ROOT, eventually


class Server(socketserver.ThreadingTCPServer):
    """Answers each connection once with "hello", or as a proxy that agrees to a tunnel, and keeps what it was sent."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.heads: list[str] = []

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.request.recv(4096)
        self.server.heads.append(head.decode())
        if head.startswith(b"CONNECT"):
            self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            self.request.sendall(self.request.recv(4096).upper())
        else:
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def other() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def forwarder(tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("forwarder", ROOT / "images/fetch/forwarder.py")
    assert spec
    assert spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.DOOR = str(tmp_path)
    return module


@pytest.fixture
def ask(forwarder: Any, tmp_path: Path) -> Iterator[Callable[..., bytes]]:
    """Sends bytes through the forwarder with these routes; what came back until the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    serving: list[Any] = []

    def send(routes: dict[str, str], *parts: bytes) -> bytes:
        serving.append(asyncio.run_coroutine_threadsafe(forwarder.Forwarder("pip", routes).serve(), loop))
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            # Its file is there before it listens.
            eventually(lambda: client.connect_ex(str(tmp_path / "pip")) == 0, "the socket listens")
            received = b""
            for part in parts:
                client.sendall(part)
                received += client.recv(65536)
            while data := client.recv(65536):
                received += data
        return received

    yield send
    for future in serving:
        future.cancel()
    # The servers end before their loop does.
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0.1), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_request_to_a_mirror_arrives_without_what_is_for_proxies(
    ask: Callable[..., bytes], server: Server
) -> None:
    answer = ask(
        {server.name: ""},
        f"GET http://{server.name}/simple/a?b HTTP/1.1\r\nHost: evil.example\r\nProxy-Authorization: x\r\n"
        "Authorization: Basic y\r\nConnection: keep-alive\r\n\r\n".encode(),
    )
    assert answer.endswith(b"\r\n\r\nhello")
    assert server.heads == [
        f"GET /simple/a?b HTTP/1.1\r\nAuthorization: Basic y\r\nHost: {server.name}\r\nConnection: close\r\n\r\n"
    ]


@pytest.mark.parametrize("line", ["GET http://{}/x HTTP/1.1", "CONNECT {} HTTP/1.1"])
def test_other_hosts_are_refused_and_named(
    ask: Callable[..., bytes], server: Server, other: Server, tmp_path: Path, line: str
) -> None:
    answer = ask({server.name: ""}, f"{line.format(other.name)}\r\nHost: {server.name}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert other.heads == server.heads == []
    assert (tmp_path / "refused").read_text() == f"pip {other.name}\n"


def test_tunnel_to_a_mirror_carries_both_directions(ask: Callable[..., bytes], server: Server) -> None:
    asked = f"CONNECT {server.name} HTTP/1.1\r\n\r\n".encode()
    # The server at the end takes what comes through the tunnel for the head of a request.
    answer = ask({server.name: ""}, asked, b"GET / HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"hello")
    assert server.heads == ["GET / HTTP/1.1\r\n\r\n"]


def test_nothing_is_uploaded(ask: Callable[..., bytes], server: Server) -> None:
    head = f"POST http://{server.name}/ HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
    assert ask({server.name: ""}, head.encode()).startswith(b"HTTP/1.1 405 ")
    assert server.heads == []


def test_second_request_on_a_connection_goes_nowhere(
    ask: Callable[..., bytes], server: Server, other: Server
) -> None:
    """Through the host's own proxy it would reach any host."""
    one = "GET http://mirror.example/ HTTP/1.1\r\n\r\n"
    ask({"mirror.example:80": f"http://{server.name}"}, (one + one.replace("mirror", "evil")).encode())
    assert not any("evil" in head for head in server.heads)


def test_hosts_own_proxy_is_asked_with_its_password(ask: Callable[..., bytes], server: Server) -> None:
    proxy = f"http://me:pass%2Fword@{server.name}"
    answer = ask({"mirror.example:443": proxy}, b"CONNECT mirror.example:443 HTTP/1.1\r\n\r\n", b"through")
    assert answer.endswith(b"THROUGH")
    password = base64.b64encode(b"me:pass/word").decode()
    assert server.heads == [
        "CONNECT mirror.example:443 HTTP/1.1\r\nHost: mirror.example:443\r\n"
        f"Proxy-Authorization: Basic {password}\r\n\r\n"
    ]


@pytest.mark.parametrize(
    "head",
    [b"GET / HTTP/1.1\r\n\r\n", b"GET\r\n\r\n", b"CONNECT x HTTP/1.1\r\n\r\n", b"CONNECT a:b HTTP/1.1\r\n\r\n"],
)
def test_what_is_no_request_gets_an_error(ask: Callable[..., bytes], head: bytes) -> None:
    assert ask({}, head).split(b" ")[1] in (b"400", b"403", b"502")


def test_mirror_that_does_not_answer_is_an_error(ask: Callable[..., bytes], server: Server) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        name = f"127.0.0.1:{closed.getsockname()[1]}"
        assert ask({name: ""}, f"CONNECT {name} HTTP/1.1\r\n\r\n".encode()).startswith(b"HTTP/1.1 502 ")
