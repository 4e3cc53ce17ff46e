"""Callers who send half a request, nothing, or too much do not keep others from being served.

Each test has a gunicorn of its own on loopback, with four threads, one process and the bounds of app.py.
"""

import contextlib
import hashlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import ROOT, eventually, free_port

APPLICATION = Path(__file__).with_name("app.py")
# Others hold their threads and connections for a minute.
SOON_S, LONG_S = 15, 60
LARGEST = 1_000_000  # as in app.py
HALF_HEAD = b"GET / HTTP/1.1\r\nX: "
HALF_BODY = b"POST /run HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf"
Serve = Callable[..., "Server"]


class Server:
    def __init__(self, *options: str, worker: str, **environment: str) -> None:
        self.port = free_port()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "tests.sandbox_platform.kit.web.app:application", "--threads", "4",
             "--bind", f"127.0.0.1:{self.port}", "--worker-class", worker, "--no-control-socket",
             "--graceful-timeout", "1", *options],
            cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.sockets: list[socket.socket] = []

    def connect(self, sent: bytes = b"") -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        self.sockets.append(sock)
        sock.sendall(sent)
        return sock

    def connect_deaf(self, sent: bytes) -> None:
        """A caller who hardly reads."""
        sock = socket.socket()
        self.sockets.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(2)
        sock.connect(("127.0.0.1", self.port))
        with contextlib.suppress(OSError):  # the server closed it
            sock.sendall(sent)

    def is_up(self) -> bool:
        with contextlib.suppress(OSError):
            self.connect().close()
            return True
        return False

    def ask(self, path: str = "/", body: Any = None, method: str = "POST") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def is_served_soon(self, path: str = "/run") -> bool:
        began = time.monotonic()
        status, _ = self.ask(path, b"x")
        return status == 200 and time.monotonic() - began < SOON_S

    def stop(self) -> None:
        for sock in self.sockets:
            sock.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def serve() -> Iterator[Serve]:
    with contextlib.ExitStack() as servers:

        def start(
            *options: str, worker: str = "sandbox_platform.kit.web.worker.Worker", **environment: str
        ) -> Server:
            server = Server(*options, worker=worker, **environment)
            servers.callback(server.stop)
            eventually(server.is_up, "the server listens")
            return server

        yield start


def received(sock: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            data += piece
    return data


def sha256(answer: str) -> str:
    return answer.split()[2]


@pytest.mark.parametrize("sent", [HALF_HEAD, HALF_BODY, b""])
def test_half_requests_occupy_no_thread(serve: Serve, sent: bytes) -> None:
    server = serve()
    for _ in range(60):
        server.connect(sent)
    assert server.is_served_soon()
    assert server.is_served_soon("/healthz")


@pytest.mark.parametrize("sent", [HALF_HEAD, HALF_BODY])
def test_half_a_request_is_refused_after_its_time(serve: Serve, sent: bytes) -> None:
    server = serve(SECONDS="1")
    began = time.monotonic()
    assert received(server.connect(sent)).startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began > 0.9


def test_a_connection_without_a_request_is_closed_after_its_time(serve: Serve) -> None:
    assert received(serve(SECONDS="1").connect()) == b""


def test_a_full_table_of_connections_lets_a_new_one_in(serve: Serve) -> None:
    server = serve("--worker-connections", "20")
    for _ in range(60):
        server.connect(HALF_HEAD)
    assert server.is_served_soon()


def test_an_address_loses_its_oldest_connection(serve: Serve) -> None:
    server = serve(PER_ADDRESS="3")
    oldest, *_ = [server.connect(HALF_HEAD) for _ in range(4)]
    assert received(oldest) == b""
    assert server.is_served_soon()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_busy_threads_leave_what_watches_alone(serve: Serve, path: str) -> None:
    server = serve()
    for _ in range(8):
        server.connect(b"GET /slow?%d HTTP/1.1\r\n\r\n" % LONG_S)
    time.sleep(0.3)
    assert server.is_served_soon(path)


def test_a_large_scrape_is_sent_whole(serve: Serve) -> None:
    """Larger than a socket takes at once: the thread waits for the caller."""
    status, text = serve().ask("/metrics?8000000", method="GET")
    assert (status, len(text)) == (200, 8_000_000)


def asking(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Connection: close", *lines, "", ""]).encode()


@pytest.mark.parametrize("header", ["Authorization: Bearer one", "Cookie: sessionid=one"])
def test_the_requests_of_one_caller_leave_threads_to_others(serve: Serve, header: str) -> None:
    server = serve("--threads", "8")
    for _ in range(12):
        server.connect(asking(f"/slow?{LONG_S}", header))
    time.sleep(0.3)
    assert server.is_served_soon()


def test_a_burst_in_a_format_leaves_turns_to_its_caller_s_other_requests(serve: Serve) -> None:
    server = serve("--threads", "8")
    for _ in range(12):
        server.connect(asking(f"/exec?{LONG_S}"))
    time.sleep(0.3)
    assert server.is_served_soon()


def test_all_requests_of_a_caller_are_answered_in_turn(serve: Serve) -> None:
    server = serve("--threads", "8")
    sockets = [server.connect(asking("/slow?0.1")) for _ in range(12)]
    assert {received(sock)[:12] for sock in sockets} == {b"HTTP/1.1 200"}


@pytest.mark.parametrize("path", [f"/wait?{LONG_S}", "/large?8000000"])
def test_who_waits_or_reads_slowly_needs_no_turn(serve: Serve, path: str) -> None:
    server = serve("--threads", "8")
    for _ in range(5):
        server.connect_deaf(asking(path))
    time.sleep(0.3)
    assert server.is_served_soon()


def test_one_caller_s_requests_fill_no_more_than_half_of_the_queue(serve: Serve) -> None:
    server = serve("--worker-connections", "40", "--threads", "8")
    waiting = [server.connect(asking("/slow?2", "Authorization: Bearer one")) for _ in range(24)]
    time.sleep(0.3)
    assert server.is_served_soon()
    answers = {received(sock)[:12] for sock in waiting}
    assert answers == {b"HTTP/1.1 200", b"HTTP/1.1 429"}


def test_answers_that_nobody_reads_give_way_to_those_who_wait(serve: Serve) -> None:
    server = serve()
    for _ in range(12):
        server.connect_deaf(b"GET /large?8000000 HTTP/1.1\r\n\r\n")
    time.sleep(0.3)
    assert any(server.is_served_soon() for _ in range(4))


def test_an_answer_may_be_read_slowly_while_nobody_waits(serve: Serve) -> None:
    sock = serve().connect(b"GET /large?8000000 HTTP/1.1\r\nConnection: close\r\n\r\n")
    time.sleep(2)
    assert len(received(sock)) > 8_000_000


def test_a_file_is_sent_whole(serve: Serve) -> None:
    assert serve().ask("/file") == (200, APPLICATION.read_text())


def test_a_full_queue_is_429_and_leaves_the_health_check_alone(serve: Serve) -> None:
    server = serve("--worker-connections", "20")
    waiting = [server.connect(b"GET /slow?2 HTTP/1.1\r\nConnection: close\r\n\r\n") for _ in range(18)]
    time.sleep(0.3)
    assert all(server.is_served_soon("/healthz") for _ in range(3))
    answers = {received(sock)[:12] for sock in waiting}
    assert answers == {b"HTTP/1.1 200", b"HTTP/1.1 429"}


FLOOD = """
import socket, sys, threading

def flood():
    while True:
        try:
            sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
            sock.sendall(b"POST /run HTTP/1.1\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
            for _ in range(100):
                sock.sendall(b"1\\r\\nx\\r\\n" * 20000)
        except OSError:
            pass

for _ in range(60):
    threading.Thread(target=flood, daemon=True).start()
threading.Event().wait(20)
"""


def test_many_small_chunks_leave_others_their_turn(serve: Serve) -> None:
    server = serve(BODIES="300000000")
    flood = subprocess.Popen([sys.executable, "-c", FLOOD, str(server.port)])
    try:
        time.sleep(1.5)
        assert any(server.is_served_soon("/healthz") for _ in range(4))
        assert any(server.is_served_soon() for _ in range(4))
    finally:
        flood.kill()
        flood.wait()


def test_a_large_upload_is_refused_before_it_comes(serve: Serve) -> None:
    server = serve()
    sock = server.connect(b"POST /admin/login/ HTTP/1.1\r\nContent-Length: 200000000\r\n\r\n")
    assert received(sock).startswith(b"HTTP/1.1 413 ")


def test_a_caller_who_sends_too_much_gets_the_answer(serve: Serve) -> None:
    status, text = serve().ask("/run", b"x" * (LARGEST * 8))
    assert (status, "larger than" in json.loads(text)["detail"]) == (413, True)


def test_a_large_chunked_upload_is_refused(serve: Serve) -> None:
    status, _ = serve().ask("/admin/login/", (b"x" * 1000 for _ in range(200)))
    assert status == 413


def test_the_api_s_refusal_is_a_problem(serve: Serve) -> None:
    sock = serve().connect(b"POST /api/v1/me HTTP/1.1\r\nContent-Length: 20000\r\n\r\n")
    head, _, content = received(sock).partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert json.loads(content)["type"] == "urn:sandbox-platform:problem:too_large"


@pytest.mark.parametrize("size", [0, 1, 8192, 300_000, LARGEST])
def test_a_body_arrives_whole(serve: Serve, size: int) -> None:
    body = os.urandom(size)
    server = serve()
    for sent in (body, (body[at : at + 7000] for at in range(0, size, 7000))):
        assert sha256(server.ask("/run", sent)[1]) == hashlib.sha256(body).hexdigest()


def test_requests_on_one_connection_are_answered_in_order(serve: Serve) -> None:
    server = serve()
    sock = server.connect(b"".join(b"POST /run HTTP/1.1\r\nContent-Length: 1\r\n\r\n%d" % n for n in range(5)))
    sock.sendall(b"POST /run HTTP/1.1\r\nConnection: close\r\nContent-Length: 1\r\n\r\n5")
    found = re.findall("[0-9a-f]{64}", received(sock).decode())
    assert found == [hashlib.sha256(b"%d" % n).hexdigest() for n in range(6)]


def test_a_caller_may_ask_before_sending_the_body(serve: Serve) -> None:
    sock = serve().connect(
        b"POST /run HTTP/1.1\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    assert sock.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    sock.sendall(b"ok")
    assert hashlib.sha256(b"ok").hexdigest().encode() in received(sock)


def test_large_bodies_that_come_slowly_give_way(serve: Serve) -> None:
    server = serve(BODIES="1200000")

    def refused() -> tuple[socket.socket, str] | None:
        # A new one each time: on a busy machine one may be older than SLOW_S, and give way, before the next comes.
        slow = server.connect(b"POST /run HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % LARGEST + b"x" * (LARGEST - 1))
        status, text = server.ask("/run", b"x" * LARGEST)
        if status == 429:
            return slow, text
        slow.close()
        return None

    slow, text = eventually(refused, "there is no room for another")
    assert json.loads(text)["exit_code"] == -429
    assert server.is_served_soon()
    slow.close()
    eventually(lambda: server.ask("/run", b"x" * LARGEST)[0] == 200, "there is room again")


def test_a_process_is_renewed_when_nobody_waits(serve: Serve, tmp_path: Path) -> None:
    server = serve("--max-requests", "3", "--graceful-timeout", "30")
    running = server.connect(asking(f"/until?{tmp_path}/end"))
    first = {server.ask("/run", b"x")[1].split()[0] for _ in range(6)}
    assert len(first) == 1
    (tmp_path / "end").touch()
    assert received(running).split(b"\r\n\r\n")[1].split()[0].decode() in first
    eventually(lambda: server.is_up() and server.ask("/run", b"x")[1].split()[0] not in first, "a new process")


def test_gunicorn_s_own_worker_is_stopped_by_half_requests(serve: Serve) -> None:
    """If this fails, gunicorn reads requests outside of its threads, and kit/web may be needless."""
    server = serve(worker="gthread")
    for _ in range(8):
        server.connect(HALF_HEAD)
    time.sleep(0.5)
    with pytest.raises(TimeoutError):
        server.connect(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").recv(1)


@pytest.mark.parametrize(
    ("path", "body", "left"),
    [
        ("/run", b"x" * LARGEST, "0"),
        ("/large?1000000", None, "0"),
        ("/run", b"x", "1"),
        ("/large?1000", None, "1"),
    ],
)
def test_what_a_large_request_leaves_is_collected_at_once(
    serve: Serve, path: str, body: bytes | None, left: str
) -> None:
    server = serve()
    assert server.ask(path, body)[0] == 200
    eventually(lambda: server.ask("/left", method="GET")[1] == left, f"{left} left")
