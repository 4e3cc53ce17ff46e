"""SandboxFusion's own client package, as verl uses it: python fusion.py URL TOKEN CALLS.

With CALLS, so many programs run at the same time, each tried once.
"""

import json
import sys
from base64 import b64decode, b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sandbox_fusion import (
    RunCodeRequest,
    RunJupyterRequest,
    SummaryMapping,
    run_code,
    run_jupyter,
    set_sandbox_endpoint,
    summary_run_code_result,
)

ADD = "a, b = map(int, input().split())\nprint(a + b)"


def one_by_one() -> dict[str, Any]:
    copies = RunCodeRequest(
        code="open('out.txt', 'w').write(open('in.txt').read() * 2)",
        language="python",
        files={"in.txt": b64encode(b"ab").decode()},
        fetch_files=["out.txt"],
    )
    copied = run_code(copies, max_attempts=1)
    failed = run_code(RunCodeRequest(code="raise ValueError(1)", language="python"), max_attempts=1)
    slow = RunCodeRequest(code="while True: pass", language="python", run_timeout=1)
    cells = RunJupyterRequest(cells=["x = 6", "print(x)\nx * 7", "1 / 0", "print(x)"])
    ran = run_jupyter(cells, max_attempts=1)
    words = SummaryMapping(Success="yes", Failed="no", RunTimeout="slow")
    return {
        "copied": b64decode(copied.files["out.txt"]).decode(),
        "summaries": [
            summary_run_code_result(result, words) for result in (copied, failed, run_code(slow, max_attempts=1))
        ],
        "cells": [[cell.stdout, [each["text/plain"] for each in cell.display]] for cell in ran.cells],
        "error": ran.cells[2].error[0]["ename"],
    }


def at_once(calls: int) -> list[str]:
    def call(number: int) -> str:
        request = RunCodeRequest(code=ADD, language="python", stdin=f"{number} 1")
        return str(run_code(request, max_attempts=1, client_timeout=300).run_result.stdout).strip()

    with ThreadPoolExecutor(calls) as threads:
        return list(threads.map(call, range(calls)))


def main(url: str, token: str, calls: str = "") -> Any:
    set_sandbox_endpoint(url.replace("://", f"://sandbox:{token}@"))
    return at_once(int(calls)) if calls else one_by_one()


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
