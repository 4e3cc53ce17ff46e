"""One caller tries to stop the platform; meanwhile another one's POST /run and /healthz are answered within a second.

The attacks are those of `python -m bench.attacks`, in a small form: each web process has eight threads here. The best
of a few tries counts, and of some more if need be, because others use the machine, too.
"""

import socket
from collections.abc import Iterator

import pytest

from bench.attacks import LONGEST_S, add_clients, measure, web_limit
from tests.live import Platform

pytestmark = pytest.mark.needs_docker

THREADS = 8
TRIES, MORE = 4, 16
SMALL = {
    "half heads": 8 * THREADS,
    "half bodies": 8 * THREADS,
    "idle connections": 30 * THREADS,
    "unread answers": 8 * THREADS,
    "uploads before the login": 3,
    "waits": 3 * THREADS,
    "programs of many lines": 3,
    "arguments of many lists": 3,
    "pages of large programs": 3,
}


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("attacked")
    running = Platform(
        folder, SANDBOX_WEB_THREADS=str(THREADS), SANDBOX_TIMEOUT="15m", SANDBOX_EXECUTOR_MANAGER_POOL_SIZE="3"
    )
    try:
        running.start("python")
        add_clients(running)
        yield running
    finally:
        running.stop()


@pytest.mark.parametrize("name", SMALL)
def test_another_client_is_served_meanwhile(attacked: Platform, name: str) -> None:
    figures = measure(attacked, name, SMALL[name], TRIES, MORE)
    assert min(figures.run_s) < LONGEST_S, figures
    assert min(figures.health_s) < LONGEST_S, figures
    assert figures.peak_bytes < web_limit(), figures


def test_an_upload_before_the_login_is_refused_by_its_head(attacked: Platform) -> None:
    head = b"POST /admin/login/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with socket.create_connection(("127.0.0.1", attacked.port), timeout=10) as sock:
        sock.sendall(head + b"Content-Length: 200000000\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 413 ")
