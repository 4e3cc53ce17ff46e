"""A large program is checked in a process of its own."""

import resource
import threading

import pytest

from runtimes.code_policy import IN_PROCESS, Busy, check, child

LINES = "x=1\n" * 50_000  # 200 KB, whose tree takes 120 MB


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def large(program: str) -> str:
    return program + "\n#" + "x" * IN_PROCESS


def test_a_large_program_takes_no_memory_here() -> None:
    before = peak_bytes()
    assert check(LINES, "python") == []
    assert peak_bytes() - before < 30 * 2**20


def test_a_check_beyond_its_memory_is_refused_even_if_syntax_is_not_checked(settings) -> None:
    settings.SANDBOX_POLICY_MEMORY_BYTES = 60 * 2**20
    (violation,) = check(LINES, "python", ["python.syntax"])
    assert (violation.rule, "SANDBOX_POLICY_MEMORY" in violation.message) == (child.TOO_MUCH, True)


def test_a_check_beyond_its_time_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "TIME_S", 0.05)
    (violation,) = check(LINES, "python")
    assert violation.rule == child.TOO_MUCH


@pytest.mark.parametrize(
    ("program", "disabled"),
    [("import os", []), ("import os\nopen('é')", ["python.import"]), ("def", []), ("def", ["python.syntax"])],
)
def test_a_large_program_has_the_violations_of_a_small_one(program: str, disabled: list[str]) -> None:
    assert check(large(program), "python", disabled) == check(program, "python", disabled)


def test_lone_surrogates_reach_the_child() -> None:
    assert [each.rule for each in check(large("'\ud800'"), "python")] == ["python.syntax"]


def test_few_wait_for_their_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_queue", threading.BoundedSemaphore(1))
    child._queue.acquire()
    with pytest.raises(Busy):
        check(large("x = 1"), "python")
    assert check("import os", "python")  # a small one needs no turn
