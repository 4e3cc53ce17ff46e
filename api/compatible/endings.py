"""How a run ended, as the formats tell it: in the compiler or not, and by an exit code or a signal."""

import signal

from executions.models import Execution, Outcome, Status

# Runs that we end. The other sandboxes kill, too.
ENDED_BY_US = (Status.TIMED_OUT, Status.OUT_OF_MEMORY, Status.OUTPUT_LIMIT)
IN_COMPILER = (Outcome.COMPILE_FAILED, Outcome.COMPILE_TIME)
# Piston's words, which LibreChat's interpreter uses, too.
_WORDS: dict[str, str] = {
    Outcome.STDOUT: "OL",
    Outcome.STDERR: "EL",
    Status.TIMED_OUT: "TO",
    Status.OUT_OF_MEMORY: "SG",
    Outcome.SIGNALLED: "SG",
    Status.FAILED: "RE",
}


def in_compiler(execution: Execution) -> bool:
    """Whether the run ended before its program was started."""
    return execution.outcome in IN_COMPILER


def signal_of(execution: Execution) -> int | None:
    """Return the signal that ended the program: SIGKILL if a limit did."""
    if execution.signal is None and execution.status in ENDED_BY_US:
        return int(signal.SIGKILL)
    return execution.signal


def word_of(execution: Execution) -> str | None:
    """Return `RE`, `SG`, `TO`, `OL` or `EL`; None for a program that succeeded."""
    return _WORDS.get(execution.outcome) or _WORDS.get(execution.status)


def code_and_signal(execution: Execution) -> tuple[int | None, str | None]:
    """Return the exit code, or the name of the signal that ended the program."""
    number = signal_of(execution)
    return (execution.exit_code, None) if number is None else (None, _name_of(number))


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
