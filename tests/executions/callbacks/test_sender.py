"""The request itself, against real servers on loopback."""

import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest
from pytest_django import Settings

from executions.callbacks import sender
from executions.callbacks.sender import Answer, post
from runtimes.models import MIB
from sandbox_platform.kit import addresses
from sandbox_platform.kit.addresses import Address, Target
from tests.executions.callbacks.conftest import Receiver

LOOPBACK = ipaddress.ip_address("127.0.0.1")


def at_loopback(target: Target) -> list[Address]:
    return [LOOPBACK]


def send(url: str, **kwargs: object) -> Answer:
    return post(url, b'{"a":1}', {"Content-Type": "application/json"}, **kwargs)  # type: ignore[arg-type]


@pytest.mark.usefixtures("loopback_allowed")
def test_the_body_arrives(receiver: Receiver) -> None:
    answer = send(receiver.url)
    assert (answer.status_code, answer.error, answer.is_success) == (204, "", True)
    (got,) = receiver.received
    assert (got.path, got.body, got.headers["content-type"]) == ("/hook?a=b", b'{"a":1}', "application/json")


def test_a_loopback_address_is_not_called(receiver: Receiver) -> None:
    answer = send(receiver.url)
    assert (answer.status_code, answer.final) == (None, True)
    assert "not a public address" in answer.error
    assert receiver.received == []


def test_the_request_goes_to_the_address_that_was_checked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # DNS rebinding: a second look at the name would find another address.
    real = socket.getaddrinfo
    asked = []

    def getaddrinfo(host: str, *args: object, **kwargs: object) -> object:
        if host != "127.0.0.1":
            asked.append(host)
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    answer = send(f"http://rebinding.example:{receiver.port}/", resolve=at_loopback)
    assert answer.is_success
    assert asked == []
    assert receiver.received[0].headers["host"] == f"rebinding.example:{receiver.port}"


def test_a_name_is_checked_anew_at_every_attempt(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter(["1.1.1.1", "127.0.0.1"])

    def getaddrinfo(host: str, port: int, **kwargs: object) -> object:
        return [(None, None, 0, "", (next(found), port))]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", getaddrinfo)
    target = Target.parse(f"http://rebinding.example:{receiver.port}/")
    assert addresses.resolve(target) == [ipaddress.ip_address("1.1.1.1")]
    assert "not a public address" in send(f"http://rebinding.example:{receiver.port}/").error
    assert receiver.received == []


@pytest.mark.usefixtures("loopback_allowed")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    receiver.status, receiver.headers = status, {"Location": f"http://127.0.0.1:{receiver.port}/elsewhere"}
    answer = send(receiver.url)
    assert (answer.is_success, answer.final) == (False, False)
    assert "Redirect" in answer.error
    assert len(receiver.received) == 1


@pytest.mark.usefixtures("loopback_allowed")
@pytest.mark.parametrize(
    ("status", "final"), [(400, False), (404, False), (410, True), (429, False), (500, False)]
)
def test_only_gone_is_final(receiver: Receiver, status: int, final: bool) -> None:
    receiver.status = status
    answer = send(receiver.url)
    assert (answer.status_code, answer.is_success, answer.final) == (status, False, final)


@pytest.mark.usefixtures("loopback_allowed")
def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert send(receiver.url).is_success


def test_the_next_address_is_tried(receiver: Receiver) -> None:
    nobody_there = ipaddress.ip_address("127.0.0.99")
    url = f"http://example.com:{receiver.port}/"
    assert send(url, resolve=lambda target: [nobody_there, LOOPBACK]).is_success


def test_an_unknown_name_may_be_known_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **kwargs: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(addresses.socket, "getaddrinfo", unknown)
    answer = send("http://nowhere.example/")
    assert (answer.error, answer.final) == ("DNS does not know the host.", False)


# --- Servers that misbehave ---


@contextlib.contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """One that does as it likes with its first connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def accept() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            with contextlib.suppress(OSError):  # they hung up
                serve(connection)

    thread = threading.Thread(target=accept)
    thread.start()
    yield listener.getsockname()[1]
    thread.join()
    listener.close()


@pytest.mark.timeout(120, method="signal")
@pytest.mark.usefixtures("loopback_allowed")
@pytest.mark.parametrize(
    "drip",
    [b"HTTP/1.1 100 Continue\r\n\r\n", b"x", b"HTTP/1.1 200 OK\r\nX: y\r\n"],
    ids=["interim", "byte", "head"],
)
def test_an_answer_that_drips_in_for_ever_is_cut_off(monkeypatch: pytest.MonkeyPatch, drip: bytes) -> None:
    monkeypatch.setattr(sender, "TOTAL_S", 0.5)

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        while True:
            connection.sendall(drip)
            drip_pause.wait(0.1)

    drip_pause = threading.Event()
    with server(serve) as port:
        answer = send(f"http://127.0.0.1:{port}/")
    assert answer.status_code is None


@pytest.mark.usefixtures("loopback_allowed")
@pytest.mark.parametrize(
    "said", [b"", b"\0\xff" * 100, b"HTTP/9.9\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000]
)
def test_nonsense_is_an_error_not_a_crash(said: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(said)

    with server(serve) as port:
        answer = send(f"http://127.0.0.1:{port}/")
    assert (answer.status_code, answer.is_success, answer.final) == (None, False, False)


@pytest.mark.timeout(120, method="signal")
@pytest.mark.usefixtures("loopback_allowed")
def test_an_endless_body_is_not_read() -> None:
    sent = 0

    def serve(connection: socket.socket) -> None:
        nonlocal sent
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 256 * MIB:
            connection.sendall(b"x" * 65536)
            sent += 65536

    with server(serve) as port:
        answer = send(f"http://127.0.0.1:{port}/")
    assert answer.is_success
    assert sent < 64 * MIB  # what the sockets of both sides hold


@pytest.mark.usefixtures("loopback_allowed")
def test_https_is_not_spoken_with_a_plain_server(receiver: Receiver) -> None:
    answer = send(f"https://127.0.0.1:{receiver.port}/")
    assert (answer.status_code, answer.error) == (None, "No response: SSLError.")
    assert receiver.received == []


def test_https_names_the_host_and_checks_its_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    contexts = []

    class Context(ssl.SSLContext):
        def wrap_socket(self, sock: socket.socket, *args: object, **kwargs: object) -> ssl.SSLSocket:
            contexts.append((self.verify_mode, self.check_hostname, kwargs["server_hostname"]))
            raise ssl.SSLError

    def create_default_context() -> ssl.SSLContext:
        real = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        real.__class__ = Context
        return real

    monkeypatch.setattr(sender.ssl, "create_default_context", create_default_context)
    with server(lambda connection: None) as port:
        send(f"https://example.com:{port}/", resolve=at_loopback)
    assert contexts == [(ssl.CERT_REQUIRED, True, "example.com")]


@pytest.mark.parametrize("url", ["http://example.com:22/", "ftp://example.com/", "nonsense"])
def test_a_url_that_is_no_more_allowed_is_final(url: str, settings: Settings) -> None:
    assert send(url).final
