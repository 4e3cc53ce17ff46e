import json
import signal
from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from executions.models import Outcome, Status
from executions.verdict import MAX_NESTING, Verdict, decide
from runtimes.models import OutputAction
from sandboxes.engine import ContainerState
from sandboxes.protocol import End
from sandboxes.session import EndedBy, Report
from tests.sandboxes.guest import LIMITS

OOM = ContainerState(running=False, exit_code=137, oom_killed=True)
KILLED = ContainerState(running=False, exit_code=137, oom_killed=False)
GONE = ContainerState(running=False, exit_code=None, oom_killed=False)
KILL = replace(LIMITS, output_bytes=10, output_action=OutputAction.KILL)
CUT = replace(LIMITS, output_bytes=10, output_action=OutputAction.CUT)
SMALL_RESULT = replace(LIMITS, result_bytes=10)


def end(exit_code: int | None = 0, **fields: Any) -> End:
    defaults = End(exit_code, None, stdout_bytes=0, stderr_bytes=0, result_bytes=None)
    return replace(defaults, **fields)


def ended(exit_code: int) -> ContainerState:
    return ContainerState(running=False, exit_code=exit_code, oom_killed=False)


def report(by: EndedBy = EndedBy.RUNNER, **fields: Any) -> Report:
    return Report(started_at=timezone.now(), ended_by=by, **fields)


def killed(number: int) -> Report:
    return report(end=end(None, signal=number))


@pytest.mark.parametrize(
    ("seen", "state", "limits", "cancelled", "status", "outcome"),
    [
        (report(end=end()), None, LIMITS, "", Status.SUCCEEDED, Outcome.COMPLETED),
        (report(end=end(), result=b"1"), None, LIMITS, "", Status.SUCCEEDED, Outcome.COMPLETED),
        (report(end=end(1)), None, LIMITS, "", Status.FAILED, Outcome.NONZERO_EXIT),
        (report(end=end(2), compile_status=2), None, LIMITS, "", Status.FAILED, Outcome.COMPILE_FAILED),
        # What is left of a compiler that failed decides nothing any more.
        (report(end=end(0), compile_status=2), None, LIMITS, "", Status.FAILED, Outcome.COMPILE_FAILED),
        (report(end=end(2), compile_status=0), None, LIMITS, "", Status.FAILED, Outcome.NONZERO_EXIT),
        (report(EndedBy.WALL_TIME, compiling=True), None, LIMITS, "", Status.TIMED_OUT, Outcome.COMPILE_TIME),
        (report(EndedBy.CPU_TIME, compiling=True), None, LIMITS, "", Status.TIMED_OUT, Outcome.COMPILE_TIME),
        (report(EndedBy.MEMORY, compiling=True), None, LIMITS, "", Status.OUT_OF_MEMORY, Outcome.MEMORY),
        # What a program says of itself is no fact about the host.
        (report(end=end(124)), None, LIMITS, "", Status.FAILED, Outcome.NONZERO_EXIT),
        (report(end=end(137)), None, LIMITS, "", Status.FAILED, Outcome.NONZERO_EXIT),
        (killed(signal.SIGKILL), None, LIMITS, "", Status.FAILED, Outcome.SIGNALLED),
        (killed(signal.SIGSEGV), None, LIMITS, "", Status.FAILED, Outcome.SIGNALLED),
        (report(end=end(), result=b"{1: 2}"), None, LIMITS, "", Status.FAILED, Outcome.RESULT_INVALID),
        (report(end=end(result_bytes=11)), None, SMALL_RESULT, "", Status.FAILED, Outcome.RESULT_INVALID),
        (report(end=end(), stdout=bytearray(11)), None, KILL, "", Status.OUTPUT_LIMIT, Outcome.STDOUT),
        (report(end=end(), stderr=bytearray(11)), None, KILL, "", Status.OUTPUT_LIMIT, Outcome.STDERR),
        (report(end=end(), stdout=bytearray(10)), None, KILL, "", Status.SUCCEEDED, Outcome.COMPLETED),
        (report(end=end(), stdout=bytearray(11)), None, CUT, "", Status.SUCCEEDED, Outcome.COMPLETED),
        (report(EndedBy.WALL_TIME), None, LIMITS, "", Status.TIMED_OUT, Outcome.WALL_TIME),
        # main() had returned, and only a thread went on.
        (report(EndedBy.WALL_TIME, result=b"1"), None, LIMITS, "", Status.SUCCEEDED, Outcome.COMPLETED),
        (report(EndedBy.CPU_TIME, result=b"1"), None, LIMITS, "", Status.SUCCEEDED, Outcome.COMPLETED),
        (report(EndedBy.CPU_TIME), None, LIMITS, "", Status.TIMED_OUT, Outcome.CPU_TIME),
        (report(EndedBy.MEMORY), None, LIMITS, "", Status.OUT_OF_MEMORY, Outcome.MEMORY),
        (report(EndedBy.LOST), OOM, LIMITS, "", Status.OUT_OF_MEMORY, Outcome.MEMORY),
        # Without a runner it is Docker that says how the program ended.
        (report(EndedBy.STREAM), ended(0), LIMITS, "", Status.SUCCEEDED, Outcome.COMPLETED),
        (report(EndedBy.STREAM), ended(3), LIMITS, "", Status.FAILED, Outcome.NONZERO_EXIT),
        (report(EndedBy.STREAM), ended(3), LIMITS, "caller_gone", Status.FAILED, Outcome.NONZERO_EXIT),
        (report(EndedBy.STREAM), KILLED, LIMITS, "", Status.FAILED, Outcome.NONZERO_EXIT),
        (report(EndedBy.STREAM), KILLED, LIMITS, "caller_gone", Status.CANCELLED, Outcome.CALLER_GONE),
        (report(EndedBy.STREAM), OOM, LIMITS, "", Status.OUT_OF_MEMORY, Outcome.MEMORY),
        (report(EndedBy.STREAM), None, LIMITS, "", Status.PLATFORM_ERROR, Outcome.SANDBOX_LOST),
        (report(EndedBy.STREAM), GONE, LIMITS, "", Status.PLATFORM_ERROR, Outcome.SANDBOX_LOST),
        (report(EndedBy.STREAM, stdout=bytearray(11)), ended(0), CUT, "", Status.SUCCEEDED, Outcome.COMPLETED),
        (report(EndedBy.OUTPUT, stdout=bytearray(11)), None, KILL, "", Status.OUTPUT_LIMIT, Outcome.STDOUT),
        (report(EndedBy.LOST, oom_killed=True), KILLED, LIMITS, "", Status.OUT_OF_MEMORY, Outcome.MEMORY),
        # The kernel's word is stronger than a cancellation that came at the same time.
        (report(EndedBy.LOST), OOM, LIMITS, Outcome.CALLER_GONE, Status.OUT_OF_MEMORY, Outcome.MEMORY),
        (report(EndedBy.LOST), KILLED, LIMITS, Outcome.CALLER_GONE, Status.CANCELLED, Outcome.CALLER_GONE),
        (report(EndedBy.LOST), KILLED, LIMITS, "", Status.PLATFORM_ERROR, Outcome.SANDBOX_LOST),
        (report(EndedBy.LOST), GONE, LIMITS, "", Status.PLATFORM_ERROR, Outcome.SANDBOX_LOST),
        (report(EndedBy.LOST), None, LIMITS, "", Status.PLATFORM_ERROR, Outcome.SANDBOX_LOST),
        (report(EndedBy.PROTOCOL), None, LIMITS, "", Status.PLATFORM_ERROR, Outcome.SANDBOX_LOST),
    ],
)
def test_outcome_follows_from_the_facts(
    seen: Report, state: ContainerState | None, limits: Any, cancelled: str, status: Status, outcome: Outcome
) -> None:
    verdict = decide(seen, state, limits, cancelled=cancelled)
    assert (verdict.status, verdict.outcome) == (status, outcome)


def test_every_way_to_end_has_a_verdict() -> None:
    for by in EndedBy:
        assert decide(report(by, end=end()), None, LIMITS).outcome


@pytest.mark.parametrize(
    "seen",
    [report(by, end=end(1)) for by in EndedBy] + [killed(9), report(end=end(), result=b"oops")],
    ids=lambda seen: f"{seen.ended_by.name} {seen.end.signal} {seen.result}",
)
def test_every_failure_is_explained(seen: Report) -> None:
    assert decide(seen, None, LIMITS).message


def test_signal_is_named_and_has_the_shells_exit_code() -> None:
    verdict = decide(killed(11), None, LIMITS)
    assert (verdict.signal, verdict.exit_code, "SIGSEGV" in verdict.message) == (11, 139, True)


def test_signal_without_a_name_is_told_by_its_number() -> None:
    assert "40 (unknown)" in decide(killed(40), None, LIMITS).message


def result_of(raw: bytes) -> Verdict:
    return decide(report(end=end(), result=raw), None, LIMITS)


@pytest.mark.parametrize(
    ("raw", "stored"),
    [
        (b'{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}),
        (b"NaN", None),
        (b'{"a": Infinity, "b": -Infinity}', {"a": None, "b": None}),
        (b'"\\ud800"', "\ud800"),
        ('"\u00e9"'.encode(), "\u00e9"),
    ],
)
def test_result_is_stored_as_json(raw: bytes, stored: object) -> None:
    assert json.loads(result_of(raw).result or "") == stored


@pytest.mark.parametrize(
    "raw",
    [b"", b"oops", b"\xff", b"1 2", b"[" * 100_000, b"1" * 5000, b"1e999",
     b"[" * (MAX_NESTING + 1) + b"]" * (MAX_NESTING + 1)],
    ids=["nothing", "no JSON", "no UTF-8", "two values", "unclosed", "long number", "infinite", "deep"],
)  # fmt: skip
def test_result_that_is_no_json_is_the_programs_failure(raw: bytes) -> None:
    assert result_of(raw).outcome == Outcome.RESULT_INVALID


def test_result_may_be_nested() -> None:
    assert result_of(b"[" * MAX_NESTING + b"]" * MAX_NESTING).outcome == Outcome.COMPLETED


def test_time_limit_of_a_compilation_is_the_one_that_is_named() -> None:
    limits = replace(LIMITS, wall_time_ms=1000, compile_wall_ms=7000)
    assert "7 s" in decide(report(EndedBy.WALL_TIME, compiling=True), None, limits).message


def test_success_names_what_the_answer_lacks() -> None:
    dropped = [["a.bmp", "file type not returned"], *([f"{n}.png", "too many files"] for n in range(10))]
    verdict = decide(report(end=end(dropped=dropped), stdout=bytearray(11)), None, CUT)
    assert verdict.message == (
        "Standard output was cut after 10 bytes. Files not returned: a.bmp (file type not returned), "
        + ", ".join(f"{n}.png (too many files)" for n in range(9))
        + " and 1 more."
    )
