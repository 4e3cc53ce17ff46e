import sys
from typing import Any

import pytest

from bench import pages


def page(name: str, **figures: Any) -> dict[str, Any]:
    usual = {"median_ms": 80, "worst_ms": 90, "cpu_ms": 50, "queries": 9, "slowest_ms": 3, "load": 0.5}
    return {"page": name, "status": 200, "wanted": 200} | usual | figures


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ([page("one"), page("two", median_ms=500, worst_ms=900)], ""),
        ([page("one"), page("two", median_ms=501)], "over 500 ms: two; no page: none"),
        ([page("one", status=302)], "over 500 ms: none; no page: one"),
        ([page("one", status=302, wanted=302)], ""),
        ([page("one", status=500, median_ms=700)], "over 500 ms: one; no page: one"),
        ([], "no page was loaded"),
    ],
)
def test_a_page_that_is_slow_or_missing_fails(found: list[dict[str, Any]], problem: str) -> None:
    assert pages.problem_of(found, 500) == problem


@pytest.mark.parametrize(("milliseconds", "status"), [(500, 0), (501, 1)])
def test_the_exit_status_tells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], milliseconds: int, status: int
) -> None:
    monkeypatch.setattr(sys, "argv", ["pages"])
    monkeypatch.setattr(pages, "measured", lambda options: [page("one", median_ms=milliseconds)])
    if status:
        with pytest.raises(SystemExit, match="over 500 ms: one"):
            pages.main()
    else:
        pages.main()
    assert f"| one | {milliseconds} |" in capsys.readouterr().out
