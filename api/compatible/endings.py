"""How a run ended, in the words of Piston, which LibreChat's interpreter has too."""

import signal

from executions.models import Execution, Outcome, Status

# Signal of runs that we end. Piston kills, too.
KILLED = "SIGKILL"
_WORDS: dict[str, str] = {
    Outcome.STDOUT: "OL",
    Outcome.STDERR: "EL",
    Status.TIMED_OUT: "TO",
    Status.OUT_OF_MEMORY: "SG",
    Outcome.SIGNALLED: "SG",
    Status.FAILED: "RE",
}
ENDED_BY_US = (Status.TIMED_OUT, Status.OUT_OF_MEMORY, Status.OUTPUT_LIMIT)


def word_of(execution: Execution) -> str | None:
    """Return `RE`, `SG`, `TO`, `OL` or `EL`; None for a program that succeeded."""
    return _WORDS.get(execution.outcome) or _WORDS.get(execution.status)


def code_and_signal(execution: Execution) -> tuple[int | None, str | None]:
    """Return the exit code, or the name of the signal that ended the program."""
    if execution.signal is not None:
        return None, _name_of(execution.signal)
    if execution.status in ENDED_BY_US:
        return None, KILLED
    return execution.exit_code, None


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
