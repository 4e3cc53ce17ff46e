"""One caller who tries to stop a platform: a process of its own, which bench.attacks starts and ends.

`python -m bench.attacker NAME PORT TOKEN COUNT` sends to loopback only. It prints a line once the attack is under way.
"""

import base64
import itertools
import json
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

REST_S = 0.5  # between looks at the connections; closed ones are opened again
PIECE = b"x" * 65536
UPLOAD_BYTES = 200_000_000
LARGEST_PROGRAM = 1_000_000  # of SANDBOX_MAX_PROGRAM
ROWS = 40

port, token = 0, ""


def connect(number: int = 0) -> socket.socket:
    """`number`: of the caller's address; 0 for the usual one."""
    source = (f"127.{number // 250}.{number % 250}.9", 0) if number else None
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=source)


def request(method: str, path: str, body: bytes = b"", *, length: int | None = None, kind: str = "") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token}"]
    head.append(f"Content-Length: {len(body) if length is None else length}")
    head.append(f"Content-Type: {kind or 'application/json'}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def answer(sent: bytes) -> bytes:
    """Return the answer, after which the connection is closed."""
    with connect() as sock:
        sock.settimeout(120)
        sock.sendall(sent.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        return b"".join(iter(lambda: sock.recv(65536), b""))


def hold(count: int, sent: bytes, *, addresses: int = 0) -> None:
    """Keep `count` connections that have sent this, and open those again that end or are answered."""
    numbers = itertools.cycle(range(1, addresses + 1)) if addresses else itertools.repeat(0)
    held: dict[int, socket.socket] = {}
    poll = select.poll()
    announced = False
    while True:
        with suppress(OSError):
            while len(held) < count:
                sock = connect(next(numbers))
                sock.sendall(sent)
                held[sock.fileno()] = sock
                poll.register(sock, select.POLLIN)
        if not announced:
            announced = print("ready", flush=True) is None
        time.sleep(REST_S)
        for descriptor, _ in poll.poll(0):
            poll.unregister(descriptor)
            held.pop(descriptor).close()


def repeat(count: int, work: Callable[[], object]) -> None:
    """Let `count` threads do the work again and again."""

    def loop() -> None:
        while True:
            with suppress(OSError):
                work()

    for _ in range(count):
        threading.Thread(target=loop, daemon=True).start()
    time.sleep(1)
    print("ready", flush=True)
    threading.Event().wait()


def half_heads(count: int) -> None:
    hold(count, b"GET /healthz HTTP/1.1\r\nX: ")


def half_bodies(count: int) -> None:
    hold(count, request("POST", "/run", b"half", length=100))


def idle(count: int) -> None:
    hold(count, b"", addresses=100)


def unread_answers(count: int) -> None:
    hold(count, request("GET", "/openapi.json") * 200)


def upload(count: int) -> None:
    head = request("POST", "/admin/login/", length=UPLOAD_BYTES, kind="multipart/form-data; boundary=x")

    def work() -> None:
        with connect() as sock:
            sock.sendall(head)
            for _ in range(UPLOAD_BYTES // len(PIECE)):
                sock.sendall(PIECE)

    repeat(count, work)


def waits(count: int) -> None:
    code = "import time\ntime.sleep(600)"
    made = answer(request("POST", "/api/v1/executions", json.dumps({"runtime": "python", "code": code}).encode()))
    execution = json.loads(made.partition(b"\r\n\r\n")[2])["id"]
    hold(count, request("GET", f"/api/v1/executions/{execution}?wait=3600"))


def run_body(code: bytes, arguments: bytes = b"{}") -> bytes:
    return (
        b'{"code_b64": "' + base64.b64encode(code) + b'", "language": "python", "arguments": ' + arguments + b"}"
    )


def lines(count: int) -> None:
    """Programs whose syntax trees are large: the largest that is taken, and one of 3.7 MB."""
    turns = itertools.cycle([b"x=1\n" * (LARGEST_PROGRAM // 4), b"x=1\n" * 925_000])
    repeat(count, lambda: answer(request("POST", "/run", run_body(next(turns)))))


def lists(count: int) -> None:
    """Arguments whose values are large: 30 MB of them, and as many values as are taken."""
    turns = itertools.cycle([b'{"a": [' + b"[]," * many + b"[]]}" for many in (10_000_000, 499_000)])
    program = b"def main(a): return 1"
    repeat(count, lambda: answer(request("POST", "/run", run_body(program, next(turns)))))


def page(count: int) -> None:
    """Read a page of the largest programs."""
    # Programs that the code policy refuses: what is measured is not their runs.
    program = b"import os\n#".ljust(LARGEST_PROGRAM, b"x")
    for _ in range(ROWS):
        answer(request("POST", "/run", run_body(program)))
    repeat(count, lambda: answer(request("GET", f"/api/v1/executions?fields=id,code&limit={ROWS}")))


ATTACKS: dict[str, Callable[[int], None]] = {
    "half heads": half_heads,
    "half bodies": half_bodies,
    "idle connections": idle,
    "unread answers": unread_answers,
    "uploads before the login": upload,
    "waits": waits,
    "programs of many lines": lines,
    "arguments of many lists": lists,
    "pages of large programs": page,
}

if __name__ == "__main__":
    port, token = int(sys.argv[2]), sys.argv[3]
    ATTACKS[sys.argv[1]](int(sys.argv[4]))
