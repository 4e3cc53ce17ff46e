"""Executions of which each returns a number of its own, sent by callers who do not give up."""

import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from bench.chaos import outside
from bench.chaos.parts import Chaotic
from tests.live import TOKEN

PROGRAM = "import time\ndef main(number, seconds):\n    time.sleep(seconds)\n    return number"
# What happens to the visit is the judge's matter. The program has to end as it would without.
VISITOR = f"""
import time, urllib.request
def main(number, seconds, visitor):
    time.sleep(seconds)
    try:
        urllib.request.urlopen({outside.VISIT!r}, visitor.encode(), timeout=4).read()
    except Exception as error:
        print(type(error).__name__)
    return number
"""
VISITS_EVERY = 8
SENDERS = 16
PATIENCE_S = 180
REFUSED = (429, 500, 502, 503)


class Receiver:
    """Counts the callbacks by execution."""

    def __init__(self) -> None:
        told = self.told = dict[str, int]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                name = str(self.headers["webhook-id"]).removeprefix("msg_")
                told[name] = told.get(name, 0) + 1
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Load:
    def __init__(self, platform: Chaotic, receiver: Receiver) -> None:
        self._platform, self._receiver = platform, receiver
        self._senders = ThreadPoolExecutor(SENDERS)
        self._name = uuid.uuid4().hex[:8]
        self._sent = 0
        self.accepted: dict[str, int] = {}  # the number that each execution is to return
        self.given_up: list[str] = []

    def send(self, runs: int) -> None:
        """Start to send, and return at once."""
        self._sent += runs
        for number in range(runs):
            self._senders.submit(self._send, number)

    @property
    def is_answered(self) -> bool:
        return len(self.accepted) + len(self.given_up) == self._sent

    def wait(self) -> None:
        """Return when all are accepted or given up."""
        self._senders.shutdown()

    def visitor(self, number: int) -> str:
        """Return what the program that is to return this number sends to the outside; "" for one that stays in."""
        goes = self._platform.outside and number % VISITS_EVERY == 0
        return f"{self._name}/{number}" if goes else ""

    def visits(self) -> Counter[str]:
        """Return the visits of this load's programs."""
        known = self._platform.outside.visits() if self._platform.outside else Counter[str]()
        return Counter({who: n for who, n in known.items() if who.startswith(f"{self._name}/")})

    def _send(self, number: int) -> None:
        body: dict[str, Any] = {
            "runtime": "python",
            "mode": "function",
            "code": PROGRAM,
            "arguments": {"number": number, "seconds": number % 4 / 2},
            "callback_url": self._receiver.url,
        }
        token = TOKEN
        if visitor := self.visitor(number):
            body["code"], token = VISITOR, outside.TOKEN
            body["arguments"]["visitor"] = visitor
        # The same key for each try: whoever got no answer does not know whether it was accepted.
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": uuid.uuid4().hex}
        until = time.monotonic() + PATIENCE_S
        answer = None
        while time.monotonic() < until:
            try:
                answer = requests.post(
                    f"{self._platform.url}/api/v1/executions", json=body, headers=headers, timeout=30
                )
            except requests.RequestException:
                answer = None
            if answer is not None and answer.status_code not in REFUSED:
                break
            time.sleep(0.5)
        if answer is not None and answer.status_code in (200, 202):
            self.accepted[answer.json()["id"]] = number
        else:
            self.given_up.append(
                f"{answer.status_code} {answer.text[:200]}" if answer is not None else "no answer"
            )
