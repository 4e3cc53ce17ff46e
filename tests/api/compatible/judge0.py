"""Submissions as Judge0's clients send them."""

from typing import Any

from tests.api.compatible.conftest import Caller

PYTHON = 71
SUBMISSIONS = "/submissions"


def submit(judge: Caller, query: str = "", **changed: Any) -> Any:
    return judge.post(f"{SUBMISSIONS}{query}", {"source_code": "print(1)", "language_id": PYTHON} | changed)
