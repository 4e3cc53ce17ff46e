import os
from pathlib import Path

import pytest
from pytest_django import Settings

from sandboxes import tracing
from sandboxes.tracing import TraceError

HEADER = "I1124 14:58:47.617728   10399 config.go:418] Debug: true. Strace: true, max size: 1, syscalls: \n"
CALL = "I1124 14:58:47.808305   10399 strace.go:561] [   1:   1] python3 E brk(0x0)\n"
RETURN = "I1124 14:58:47.808324   10399 strace.go:599] [   1:   1] python3 X brk(0x0) = 0 (0x0) (7.601µs)\n"
REFUSAL = "D1124 14:58:47.862420   10399 task_syscall.go:241] [   1:   1] Syscall {}: denied by seccomp\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Settings) -> Path:
    settings.SANDBOX_TRACE_DIR = tmp_path / "trace"
    return tmp_path / "trace"


def traced(*lines: str) -> tracing.Trace:
    with tracing.reading() as reader:
        reader.path.write_text("".join(lines))
        return reader.result()


def test_calls_are_counted_once() -> None:
    assert traced(HEADER, CALL, RETURN, CALL).called == {"brk": 2}


def test_refusals_are_named_in_their_order() -> None:
    trace = traced(HEADER, CALL, REFUSAL.format(83), REFUSAL.format(41), REFUSAL.format(83))
    assert trace.order == ["mkdir", "socket"]
    assert trace.refused == {"mkdir": 2, "socket": 1}


def test_a_call_that_gvisor_has_no_name_for_is_named_by_its_number() -> None:
    assert traced(HEADER, CALL.replace("brk", "sys_435")).called == {"clone3": 1}


def test_a_name_in_an_argument_is_no_call() -> None:
    line = CALL.replace("brk(0x0)", "open(0x7e /x E ptrace(0x0)")
    assert traced(HEADER, line).called == {"open": 1}


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([], id="nothing"),
        pytest.param([CALL], id="no header: not a traced gVisor"),
        pytest.param([HEADER], id="no call"),
        pytest.param([HEADER, CALL, "\n*** Dropped 7 log messages ***\n", CALL], id="lines lost"),
        pytest.param([HEADER, CALL, "x" * (3 * tracing.LONGEST_LINE)], id="a line without end"),
    ],
)
def test_what_is_not_a_whole_trace_is_refused(lines: list[str]) -> None:
    with pytest.raises(TraceError):
        traced(*lines)


def test_nothing_is_left_behind(folder: Path) -> None:
    traced(HEADER, CALL)
    assert list(folder.iterdir()) == []


def test_what_a_dead_worker_left_is_swept(folder: Path) -> None:
    folder.mkdir()
    for name, age in (("old", 2 * tracing.ABANDONED_S), ("new", 0)):
        os.mkfifo(folder / name)
        then = (folder / name).stat().st_mtime - age
        os.utime(folder / name, (then, then))
    tracing.sweep()
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_a_folder_that_cannot_be_used_names_the_remedy(folder: Path) -> None:
    folder.parent.joinpath("trace").write_text("a file")
    with pytest.raises(TraceError, match="make setup"), tracing.reading():
        pass
