"""What a failed run has in common with others: a kind, a title, and the place in the program.

Decided from the facts of the verdict, and from the error output as it is stored, redacted. Error output may be
hostile: only its ends are read, patterns match in linear time (RE2), and every part of a fingerprint has a length.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from django.db import models

from executions.failures import traces
from executions.failures.normalising import clipped, normalised
from executions.models import Outcome, Status
from executions.verdict import signal_name

SIGSYS = 31
LONGEST_TYPE, LONGEST_MESSAGE, LONGEST_PLACE = 100, 300, 100
MOST_RULES = 20


class Kind(models.TextChoices):
    EXCEPTION = "exception", "Exception"
    COMPILATION = "compilation", "Compilation error"
    EXIT = "exit", "Exit status"
    SIGNAL = "signal", "Signal"
    REFUSED_CALL = "refused_call", "Refused system call"
    RESULT = "result", "Invalid result"
    TIME = "time", "Time limit"
    MEMORY = "memory", "Memory limit"
    OUTPUT = "output", "Output limit"
    REJECTED = "rejected", "Rejected"
    QUEUE = "queue", "Queue timeout"  # what clients ask for is more than there is, or nobody ran
    PLATFORM = "platform", "Platform error"
    OTHER = "other", "Other"  # of a client with too many groups


# Kinds whose title and message are lines of the program's output.
QUOTING = (Kind.EXCEPTION, Kind.COMPILATION)


@dataclass(frozen=True)
class Facts:
    """A failed run. `stderr`, `stdout`: at most the two ends, see traces.MOST."""

    status: str
    outcome: str
    exit_code: int | None = None
    signal: int | None = None
    message: str = ""
    stderr: str = ""
    stdout: str = ""
    code_sha256: str = ""
    policy_violations: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Fingerprint:
    """`title` and `message` are for people. `place`: file and function, or the program's hash."""

    kind: Kind
    title: str
    message: str = ""
    place: str = ""

    def sha256(self, runtime_id: int | None, *more: object) -> str:
        parts = (str(runtime_id), self.kind, self.title, self.message, self.place, *map(str, more))
        return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()


OTHER = Fingerprint(Kind.OTHER, "Other failures", "This client has too many groups: new ones are counted here.")
_OF_LIMITS = {
    Outcome.WALL_TIME: Kind.TIME,
    Outcome.CPU_TIME: Kind.TIME,
    Outcome.COMPILE_TIME: Kind.TIME,
    Outcome.MEMORY: Kind.MEMORY,
    Outcome.STDOUT: Kind.OUTPUT,
    Outcome.STDERR: Kind.OUTPUT,
    Outcome.RESULT_INVALID: Kind.RESULT,
}


def fingerprint(facts: Facts) -> Fingerprint:
    """Return what groups the run. Facts of the host decide the kind; output only tells exceptions apart."""
    outcome = Outcome(facts.outcome)
    if kind := _OF_LIMITS.get(outcome):
        return Fingerprint(kind, str(outcome.label), place=_program(facts))
    if facts.status == Status.REJECTED:
        rules = sorted({str(violation.get("rule", "")) for violation in facts.policy_violations})[:MOST_RULES]
        return Fingerprint(Kind.REJECTED, str(outcome.label), clipped(", ".join(rules), LONGEST_MESSAGE))
    match outcome:
        case Outcome.COMPILE_FAILED:
            found = traces.compilation(facts.stderr) or traces.compilation(facts.stdout)
            if found is None:
                return Fingerprint(Kind.COMPILATION, str(outcome.label), place=_program(facts))
            return _of_trace(Kind.COMPILATION, found)
        case Outcome.SIGNALLED if facts.signal == SIGSYS:
            return Fingerprint(Kind.REFUSED_CALL, "Killed for a refused system call", place=_program(facts))
        case Outcome.SIGNALLED:
            if found := traces.exception(facts.stderr):
                return _of_trace(Kind.EXCEPTION, found)
            name = signal_name(facts.signal or 0)
            return Fingerprint(Kind.SIGNAL, f"Killed by signal {facts.signal} ({name})", place=_program(facts))
        case Outcome.NONZERO_EXIT:
            if found := traces.exception(facts.stderr) or traces.on_stdout(facts.stdout):
                return _of_trace(Kind.EXCEPTION, found)
            return Fingerprint(Kind.EXIT, f"Exit status {facts.exit_code}", place=_program(facts))
    kind = Kind.QUEUE if outcome == Outcome.QUEUE_TIMEOUT else Kind.PLATFORM
    return Fingerprint(kind, str(outcome.label), normalised(facts.message, LONGEST_MESSAGE))


def _of_trace(kind: Kind, found: traces.Trace) -> Fingerprint:
    return Fingerprint(
        kind,
        clipped(found.type, LONGEST_TYPE),
        normalised(found.message, LONGEST_MESSAGE),
        clipped(found.place, LONGEST_PLACE),
    )


def _program(facts: Facts) -> str:
    return f"program {facts.code_sha256[:12]}"
