"""Decides how an execution ended, from facts that the host knows. Claims of the guest do not count.

The facts, strongest first: the host's deadlines; the kernel's OOM kill of the sandbox; the bytes received; the
worker's exit status from gVisor's kernel, reported by a process that the program cannot touch.
"""

import json
import signal
from dataclasses import dataclass
from typing import Any

from executions.models import Outcome, Status
from runtimes.models import MIB, Limits, OutputAction
from sandbox_platform.kit.units import exact
from sandboxes.engine import ContainerState
from sandboxes.protocol import End
from sandboxes.session import EndedBy, Report

# Half of what Python's parser can do: readers parse the result again, at a stack depth of their own.
MAX_NESTING = 500
MAX_NAMED = 10  # files in a message
KILLED = 128 + signal.SIGKILL


@dataclass(frozen=True)
class Verdict:
    status: Status
    outcome: Outcome
    message: str = ""  # for people: what happened, and what to do
    exit_code: int | None = None
    signal: int | None = None
    result: str | None = None  # JSON text


def decide(report: Report, state: ContainerState | None, limits: Limits, *, cancelled: str = "") -> Verdict:
    """Return the verdict on a session.

    `state` is the container's state if the stream ended without a report, else None. `cancelled` is the outcome of a
    requested cancellation, "" without one.
    """
    if report.compiling and report.ended_by in (EndedBy.WALL_TIME, EndedBy.CPU_TIME):
        return _compilation_too_long(report.ended_by, limits)
    match report.ended_by:
        case EndedBy.WALL_TIME | EndedBy.CPU_TIME if report.result is not None:
            message = "main() returned, but the program went on until a time limit, and was ended then."
            return _with_result(report.result, f"{message} {_what_is_missing(report, limits)}".rstrip())
        case EndedBy.WALL_TIME:
            seconds = limits.wall_time_ms / 1000
            return Verdict(
                Status.TIMED_OUT,
                Outcome.WALL_TIME,
                f"Execution timeout: the run reached its wall time limit of {seconds:g} s.",
            )
        case EndedBy.CPU_TIME:
            seconds = limits.cpu_time_ms / 1000
            return Verdict(
                Status.TIMED_OUT,
                Outcome.CPU_TIME,
                f"CPU time limit exceeded: the run used more than its limit of {seconds:g} s of CPU.",
            )
        case EndedBy.MEMORY:
            return _out_of_memory(report, limits)
        case EndedBy.RUNNER:
            return _of_program(report, limits)
        case EndedBy.OUTPUT:
            return _over_output(report, limits) or _of_lost_sandbox(report, state, limits, cancelled)
        case EndedBy.STREAM:
            return _of_stream(report, state, limits, cancelled)
        case EndedBy.LOST:
            return _of_lost_sandbox(report, state, limits, cancelled)
        case _:
            return Verdict(
                Status.PLATFORM_ERROR, Outcome.SANDBOX_LOST, f"Sandbox lost: protocol error: {report.complaint}"
            )


def cancellation(outcome: Outcome) -> Verdict:
    gone = outcome == Outcome.CALLER_GONE
    message = "Cancelled: the caller disconnected." if gone else "Cancelled on request."
    return Verdict(Status.CANCELLED, outcome, message)


def _compilation_too_long(ended_by: EndedBy, limits: Limits) -> Verdict:
    wall = ended_by is EndedBy.WALL_TIME
    seconds = (limits.compile_wall_ms if wall else limits.compile_cpu_ms) / 1000
    return Verdict(
        Status.TIMED_OUT,
        Outcome.COMPILE_TIME,
        f"Compilation time limit exceeded: the compiler reached the runtime's limit of {seconds:g} s"
        f"{'' if wall else ' of CPU'}.",
    )


def _out_of_memory(report: Report, limits: Limits) -> Verdict:
    what = "compiling the program" if report.compiling else "the sandbox"
    return Verdict(
        Status.OUT_OF_MEMORY,
        Outcome.MEMORY,
        f"Memory limit exceeded: {what} needed more than the run's limit of {limits.memory_bytes // MIB} MiB, "
        "files in /workspace and /tmp included, and was killed.",
    )


def _of_lost_sandbox(report: Report, state: ContainerState | None, limits: Limits, cancelled: str) -> Verdict:
    if report.oom_killed or (state and state.oom_killed):
        return _out_of_memory(report, limits)
    if cancelled:
        return cancellation(Outcome(cancelled))
    return Verdict(
        Status.PLATFORM_ERROR,
        Outcome.SANDBOX_LOST,
        f"Sandbox lost: it ended without a report. {report.complaint}".strip(),
        exit_code=state.exit_code if state else None,
    )


def _of_stream(report: Report, state: ContainerState | None, limits: Limits, cancelled: str) -> Verdict:
    """Decide for a sandbox without a runner, whose exit status gVisor reported to Docker."""
    if state is None or state.running or state.exit_code is None:
        return _of_lost_sandbox(report, state, limits, cancelled)
    if report.oom_killed or state.oom_killed or (cancelled and state.exit_code == KILLED):
        return _of_lost_sandbox(report, state, limits, cancelled)
    report.end = End(state.exit_code, None, len(report.stdout), len(report.stderr), None)
    return _of_program(report, limits)


def _over_output(report: Report, limits: Limits) -> Verdict | None:
    for stream, kept, outcome in (
        ("standard output", report.stdout, Outcome.STDOUT),
        ("standard error", report.stderr, Outcome.STDERR),
    ):
        if len(kept) > limits.output_bytes and limits.output_action == OutputAction.KILL:
            limit = exact(limits.output_bytes, "bytes")
            message = f"Output limit exceeded: more than the run's limit of {limit} on {stream}."
            return Verdict(Status.OUTPUT_LIMIT, outcome, message)
    return None


def _of_program(report: Report, limits: Limits) -> Verdict:
    end = report.end
    assert end is not None  # noqa: S101  EndedBy.RUNNER implies it
    if verdict := _over_output(report, limits):
        return verdict
    if report.compile_status:
        return Verdict(
            Status.FAILED,
            Outcome.COMPILE_FAILED,
            f"Compilation failed: the compiler exited with status {report.compile_status}; see stderr.",
            exit_code=report.compile_status,
        )
    if end.signal is not None:
        return Verdict(
            Status.FAILED,
            Outcome.SIGNALLED,
            f"Killed by signal {end.signal} ({signal_name(end.signal)}).",
            exit_code=128 + end.signal,
            signal=end.signal,
        )
    if end.exit_code != 0:
        message = f"Non-zero exit: status {end.exit_code}."
        return Verdict(Status.FAILED, Outcome.NONZERO_EXIT, message, exit_code=end.exit_code)
    if end.result_bytes is not None and end.result_bytes > limits.result_bytes:
        return Verdict(
            Status.FAILED,
            Outcome.RESULT_INVALID,
            f"Invalid result: {end.result_bytes:,} bytes of JSON; the limit is {exact(limits.result_bytes, 'bytes')}. "
            "Write it to a file in artifacts/ instead.",
            exit_code=1,
        )
    message = _what_is_missing(report, limits)
    if report.result is None:
        return Verdict(Status.SUCCEEDED, Outcome.COMPLETED, message, exit_code=0)
    return _with_result(report.result, message)


def _what_is_missing(report: Report, limits: Limits) -> str:
    """Return what the program wrote and the answer does not hold, or ""."""
    sentences = [
        f"{stream} was cut after {exact(limits.output_bytes, 'bytes')}."
        for stream, kept in (("Standard output", report.stdout), ("Standard error", report.stderr))
        if len(kept) > limits.output_bytes
    ]
    if report.end and report.end.dropped:
        names = [f"{name} ({reason})" for name, reason in report.end.dropped]
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        sentences.append(f"Files not returned: {', '.join(names[:MAX_NAMED])}{more}.")
    return " ".join(sentences)


def _with_result(raw: bytes, message: str) -> Verdict:
    try:
        # JSON has no NaN and no infinity; they become null, as RAGFlow's callers expect.
        value = json.loads(raw, parse_constant=lambda _name: None)
        if raw.count(b"[") + raw.count(b"{") > MAX_NESTING and nested_deeper_than(MAX_NESTING, value):
            raise RecursionError
        text = json.dumps(
            value, separators=(",", ":"), allow_nan=False
        )  # 1e999 is valid JSON but parses as infinity
    except RecursionError:
        return _invalid_result(f"Invalid result: nested more than {MAX_NESTING} levels deep.")
    except ValueError as e:
        # Happens only if the program tampers with its result.
        return _invalid_result(f"Invalid result: not JSON: {e}")
    return Verdict(Status.SUCCEEDED, Outcome.COMPLETED, message, exit_code=0, result=text)


def _invalid_result(message: str) -> Verdict:
    return Verdict(Status.FAILED, Outcome.RESULT_INVALID, message, exit_code=1)


def nested_deeper_than(levels: int, value: Any) -> bool:
    containers = [value] if isinstance(value, list | dict) else []
    while containers and levels:
        levels -= 1
        children = (child for c in containers for child in (c.values() if isinstance(c, dict) else c))
        containers = [child for child in children if isinstance(child, list | dict)]
    return bool(containers)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
