from typing import Any

import pytest

from bench.chaos.judging import wrong_with


def row(**values: Any) -> dict[str, Any]:
    return {"status": "succeeded", "outcome": "completed", "started": True, "result": "7"} | values


@pytest.mark.parametrize("end", [row(), row(status="platform_error", outcome="worker_lost", result=None)])
def test_a_true_end_is_right(end: dict[str, Any]) -> None:
    assert wrong_with(end, 7) == ""


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (None, "there is no row"),
        (row(result="8"), "returned 8 instead of 7"),
        (row(result=None), "returned None instead of 7"),
        (row(status="out_of_memory", outcome="memory"), "did no wrong, and ended as out_of_memory: memory"),
        (
            row(status="platform_error", outcome="worker_lost", started=False),
            "had not started, and ended as platform_error: worker_lost instead of being queued again",
        ),
    ],
)
def test_an_untrue_end_is_found(end: dict[str, Any] | None, why: str) -> None:
    assert wrong_with(end, 7) == why
