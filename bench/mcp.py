"""Measure what POST /mcp adds to /api/v1: `python -m bench.mcp`, with SANDBOX_URL and SANDBOX_TOKEN or the stack's.

Requests of both doors alternate, because a machine's speed changes within minutes. Reading an ended run shows the time
of the door alone; in a run it is lost among that of the sandbox.
"""

import argparse
import os
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import requests

from bench.client import percentile

PROGRAM = {"runtime": "python", "code": "print(1)"}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Caller:
    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"
        self._numbers = count(1)

    def tool(self, name: str, **arguments: Any) -> dict[str, Any]:
        params = {"name": name, "arguments": arguments, "_meta": META}
        body = {"jsonrpc": "2.0", "id": next(self._numbers), "method": "tools/call", "params": params}
        headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": name}
        answer = self._session.post(f"{self._url}/mcp", json=body, headers=headers, timeout=60)
        found: dict[str, Any] = answer.json()["result"]["structuredContent"]
        return found

    def run(self) -> dict[str, Any]:
        answer = self._session.post(f"{self._url}/api/v1/executions", json=PROGRAM | {"wait": 30}, timeout=60)
        row: dict[str, Any] = answer.json()
        return row

    def get(self, execution_id: str) -> dict[str, Any]:
        answer = self._session.get(f"{self._url}/api/v1/executions/{execution_id}", timeout=60)
        row: dict[str, Any] = answer.json()
        return row


def timed(call: Callable[[], dict[str, Any]]) -> float:
    began = time.perf_counter()
    status = call()["status"]
    took = (time.perf_counter() - began) * 1000
    if status != "succeeded":
        raise SystemExit(f"a run ended as {status}")
    return took


def compare(what: str, api: Callable[[], Any], mcp: Callable[[], Any], times: int, pause_s: float) -> None:
    api_ms: list[float] = []
    mcp_ms: list[float] = []
    for number in range(times):
        pair = ((api, api_ms), (mcp, mcp_ms))
        for call, samples in pair if number % 2 else reversed(pair):
            samples.append(timed(call))
            time.sleep(pause_s)
    before, with_it = (percentile(samples, 50) for samples in (api_ms, mcp_ms))
    print(f"{what:<12} {before:8.1f} {with_it:8.1f} {with_it - before:+8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--reads", type=int, default=500)
    parser.add_argument("--pause", type=float, default=0.5, help="seconds after each run, for the pool to be full")
    given = parser.parse_args()
    caller = Caller(os.environ.get("SANDBOX_URL", "http://127.0.0.1:9385"), os.environ["SANDBOX_TOKEN"])
    print(f"{'p50, ms':<12} {'/api/v1':>8} {'/mcp':>8} {'added':>8}")
    row = caller.run()["id"]
    compare("get a run", lambda: caller.get(row), lambda: caller.tool("get_run", id=row), given.reads, 0)
    compare(
        "run a program",
        caller.run,
        lambda: caller.tool("run_code", language="python", code=PROGRAM["code"]),
        given.runs,
        given.pause,
    )


if __name__ == "__main__":
    main()
