import re
import threading

import pytest

from scripts.setup import host
from scripts.setup.host import detail, follow, step


def test_long_command_is_told_of_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(host, "TOLD_EVERY_S", 0.0)
    monkeypatch.setattr(host, "say", said.append)
    done = follow(["sh", "-c", "echo one; sleep 0.3; echo two >&2"], silence_s=10, shown=str.upper)
    assert (done.returncode, done.stdout) == (0, "one\ntwo\n")
    assert said == ["    ONE", "    TWO"]


def test_command_that_writes_now_and_then_has_all_the_time_that_it_needs() -> None:
    done = follow(
        ["sh", "-c", "for i in 1 2 3 4 5 6; do echo $i; sleep 0.3; done; exit 3"], silence_s=1, shown=str
    )
    assert (done.returncode, done.stdout.split()) == (3, list("123456"))


def test_silent_command_is_ended() -> None:
    done = follow(["sh", "-c", "echo begun; exec sleep 60"], silence_s=0.3, shown=str)
    assert done.returncode == 124
    assert "wrote nothing" in done.stdout


def test_line_under_the_heading_of_another_step_has_its_step_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(host, "say", said.append)
    other_began, this_began = threading.Event(), threading.Event()

    def other() -> None:
        with step("other"):
            other_began.set()
            assert this_began.wait(60)
            detail("halfway")

    thread = threading.Thread(target=other)
    thread.start()
    assert other_began.wait(60)
    with step("this") as current:
        this_began.set()
        thread.join(60)
        detail("begun")
        current.note("made")
    times = [re.sub(r"[0-9.]+ s", "0 s", line) for line in said]
    assert times == [
        "==> other", "==> this", "    other: halfway", "    other: done (0 s)", "    begun", "    made (0 s)"
    ]  # fmt: skip


def test_lines_outside_of_steps_have_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(host, "say", said.append)
    with step("one"):
        pass
    detail("after it")
    assert said[-1] == "    after it"
