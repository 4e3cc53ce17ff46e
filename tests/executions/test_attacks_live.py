"""One caller tries to stop the platform; meanwhile another one's POST /run and /healthz take at most a second more.

The attacks are small: each web process has eight threads here.
"""

import base64
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.live import Platform, eventually

pytestmark = pytest.mark.needs_docker

THREADS = 8
CLIENTS = "from clients.models import Client\nfor name in 'ab': Client.objects.create_with_token(name, name * 32)"
SLEEP = "import time\ntime.sleep(120)"
DELAY_S = 1.0
WEB_BYTES = 500 * 2**20


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("attacked")
    running = Platform(
        folder, SANDBOX_WEB_THREADS=str(THREADS), SANDBOX_TIMEOUT="3m", SANDBOX_EXECUTOR_MANAGER_POOL_SIZE="3"
    )
    try:
        running.start("python")
        running.manage("shell", "-c", CLIENTS)
        yield running
    finally:
        running.stop()


def of(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name * 32}"}


def served(platform: Platform) -> float:
    """The seconds that the slower of another client's run and the health check took."""
    slowest = 0.0
    code = base64.b64encode(b"def main(): return 1").decode()
    for ask in (
        lambda: platform.post({"code_b64": code}, **of("b")),
        lambda: requests.get(f"{platform.url}/healthz", timeout=30),
    ):
        began = time.monotonic()
        assert ask().status_code == 200
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def fastest(platform: Platform) -> float:
    """The time without what else happens on the machine."""
    return min(served(platform) for _ in range(3))


@pytest.fixture(scope="module")
def quiet_s(attacked: Platform) -> float:
    served(attacked)  # the first request of a process is slower
    return fastest(attacked)


def web_bytes(platform: Platform) -> int:
    """The largest peak of a web process."""
    master = platform.processes["web"].pid
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    peaks = [line for pid in children for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return max(int(line.split()[1]) * 1024 for line in peaks if line.startswith("VmHWM"))


@contextmanager
def connections(platform: Platform, count: int, sent: bytes) -> Iterator[None]:
    with ExitStack() as opened:
        for _ in range(count):
            sock = opened.enter_context(socket.create_connection(("127.0.0.1", platform.port), timeout=10))
            sock.sendall(sent)
        yield


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /healthz HTTP/1.1\r\nX: ", b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"],
    ids=["idle", "half a head", "half a body"],
)
def test_half_requests(attacked: Platform, quiet_s: float, sent: bytes) -> None:
    with connections(attacked, 8 * THREADS, sent):
        assert fastest(attacked) < quiet_s + DELAY_S


def test_an_upload_before_the_login(attacked: Platform, quiet_s: float) -> None:
    head = b"POST /admin/login/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with socket.create_connection(("127.0.0.1", attacked.port), timeout=10) as sock:
        sock.sendall(head + b"Content-Length: 200000000\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 413 ")
    assert fastest(attacked) < quiet_s + DELAY_S


def test_waits_of_one_client(attacked: Platform, quiet_s: float) -> None:
    body = {"runtime": "python", "code": SLEEP}
    made = requests.post(f"{attacked.url}/api/v1/executions", json=body, headers=of("a"), timeout=30).json()
    url = f"{attacked.url}/api/v1/executions/{made['id']}"

    def wait(_: int) -> int:
        return requests.get(f"{url}?wait=3600", headers=of("a"), timeout=300).status_code

    with ThreadPoolExecutor(3 * THREADS) as callers:
        answers = [callers.submit(wait, n) for n in range(3 * THREADS)]
        # Those that found no place are answered at once.
        eventually(lambda: sum(answer.done() for answer in answers) >= THREADS, "some are answered", 20)
        try:
            assert fastest(attacked) < quiet_s + DELAY_S
            assert not all(answer.done() for answer in answers)
        finally:
            requests.post(f"{url}/cancel", headers=of("a"), timeout=30)
        assert {answer.result() for answer in answers} == {200}


def lines() -> tuple[str, dict[str, Any]]:
    code = base64.b64encode(b"x=1\n" * 200_000).decode()
    return json.dumps({"code_b64": code}), of("a")


def lists() -> tuple[str, dict[str, Any]]:
    return '{"code_b64": "", "arguments": {"a": [' + "[]," * 8_000_000 + "[]]}}", of("a")


@pytest.mark.parametrize("attack", [lines, lists])
def test_what_is_large_once_it_is_parsed(
    attacked: Platform, quiet_s: float, attack: Callable[[], tuple[str, dict[str, Any]]]
) -> None:
    body, headers = attack()
    headers = {"Content-Type": "application/json", **headers}
    with ThreadPoolExecutor(3) as callers:
        url = f"{attacked.url}/run"
        answers = [callers.submit(requests.post, url, body, headers=headers, timeout=120) for _ in range(3)]
        assert all(answer.result().status_code in (200, 413, 429) for answer in answers)
    assert fastest(attacked) < quiet_s + DELAY_S
    assert web_bytes(attacked) < WEB_BYTES
