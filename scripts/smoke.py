"""Smoke test: POST /run in both languages, as RAGFlow sends it. Usage: `python3 -m scripts.smoke URL TOKEN`."""

from __future__ import annotations

import base64
import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any

PROGRAMS = {
    "python": "def main(a, b):\n    print('hello')\n    return {'sum': a + b}\n",
    "nodejs": "function main({a, b}) { console.log('hello'); return {sum: a + b}; }\n",
}
# As long as the platform gives the first start of a runtime, which unpacks its image: seconds, on an emulated machine
# minutes. Only a missing answer is retried, and a 503, with which a busy service asks for it; never a wrong one.
PATIENCE_SECONDS = 900
BUSY_SECONDS = 180
# The platform labels these runs: api/ragflow/contract.py. Older ones do not, and run them all the same.
USER_AGENT = "sandbox-smoke-test/1"
WARM_RUNS = 5


class SmokeError(Exception):
    pass


def post_run(url: str, token: str, language: str, code: str, arguments: dict[str, object]) -> dict[str, Any]:
    body = {
        "language": language,
        "code_b64": base64.b64encode(code.encode()).decode(),
        "arguments": arguments,
    }
    request = urllib.request.Request(  # noqa: S310 -- the address comes from .env
        f"{url}/run",
        data=json.dumps(body).encode(),
        headers={
            "Content-Type": "application/json",
            "Authorization": f"Bearer {token}",
            "User-Agent": USER_AGENT,
        },
        method="POST",
    )
    # The request stays on this machine: ignore the environment's HTTP proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=PATIENCE_SECONDS) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def check_one(url: str, token: str, language: str) -> float:
    """Run one program and return its duration in milliseconds. Raises SmokeError for a wrong answer."""
    started = time.monotonic()
    answer = post_run(url, token, language, PROGRAMS[language], {"a": 20, "b": 22})
    elapsed = (time.monotonic() - started) * 1000
    wanted = {
        "status": "success",
        "exit_code": 0,
        "result": {"present": True, "value": {"sum": 42}, "type": "json"},
    }
    for key, value in wanted.items():
        if answer.get(key) != value:
            raise SmokeError(f"{language}: {key} is {answer.get(key)!r}, not {value!r}; whole answer: {answer}")
    if "hello" not in answer.get("stdout", ""):
        raise SmokeError(f"{language}: stdout is {answer.get('stdout')!r}")
    return elapsed


def check(url: str, token: str) -> list[str]:
    return [f"{language} {_measure(url, token, language)}" for language in PROGRAMS]


def _measure(url: str, token: str, language: str) -> str:
    first = _patiently(url, token, language)
    later = sorted(_patiently(url, token, language) for _ in range(WARM_RUNS))
    return f"ok, first {first:.0f} ms, then {later[WARM_RUNS // 2]:.0f} ms (median of {WARM_RUNS})"


def _patiently(url: str, token: str, language: str) -> float:
    started = time.monotonic()
    while True:
        try:
            return check_one(url, token, language)
        except urllib.error.HTTPError as error:
            said = error.read(500).decode(errors="replace")
            if error.code != 503 or time.monotonic() > started + BUSY_SECONDS:
                raise SmokeError(f"{language}: HTTP {error.code}: {said}") from error
            time.sleep(0.5)
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            if time.monotonic() > started + PATIENCE_SECONDS:
                raise SmokeError(f"{language}: no answer from {url}: {error}") from error
            time.sleep(0.5)


if __name__ == "__main__":
    try:
        print("\n".join(check(sys.argv[1].rstrip("/"), sys.argv[2])))
    except SmokeError as failure:
        sys.exit(str(failure))
