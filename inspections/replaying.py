"""Dry run: run past executions again under a draft and, if they end differently, under the profile in force."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from executions.models import Execution, Outcome
from executions.services import db_text
from inspections.laboratory import Laboratory, Observation
from sandboxes.protocol import Job

# Limits how long a dry run occupies a worker.
BUDGET_S = 600
WHOLE = ("status", "exit_code", "result", "stdout")
END = ("status", "exit_code")


@dataclass(frozen=True)
class End:
    """How a run ended: the fields by which two runs of one program are compared."""

    status: str
    exit_code: int | None
    result: str | None
    stdout: str

    @classmethod
    def of_history(cls, execution: Execution) -> "End":
        return cls(execution.status, execution.exit_code, execution.result, execution.stdout)

    @classmethod
    def of(cls, observed: Observation, output_bytes: int) -> "End":
        if observed.report is None or observed.verdict is None:
            return cls("not started", None, None, "")
        stdout = db_text(observed.report.stdout[:output_bytes].decode("utf-8", "replace"))
        verdict = observed.verdict
        return cls(verdict.status, verdict.exit_code, verdict.result, stdout)

    def differs_in(self, other: "End", fields: tuple[str, ...] = WHOLE) -> list[str]:
        return [name for name in fields if getattr(self, name) != getattr(other, name)]


@dataclass(frozen=True)
class Replayed:
    execution: Execution
    laboratory: Laboratory
    job: Job
    current: dict[str, Any] | None  # the rules that a worker would use now


def replay(programs: list[Replayed], draft: dict[str, Any] | None) -> dict[str, Any]:
    """Run the programs again, and return the details of the inspection. Raises Cancelled and EngineError."""
    until = time.monotonic() + BUDGET_S
    results: list[dict[str, Any]] = []
    for program in programs:
        if time.monotonic() > until:
            break
        results.append({"execution": str(program.execution.pk)} | replay_one(program, draft))
    counts = Counter(result["outcome"] for result in results)
    return {
        "summary": _summary(counts, len(programs)),
        "executions": results,
        "not_tried": len(programs) - len(results),
    }


def replay_one(program: Replayed, draft: dict[str, Any] | None) -> dict[str, Any]:
    laboratory, job = program.laboratory, program.job
    then = End.of_history(program.execution)
    drafted = End.of(laboratory.run(job, draft), job.output_bytes)
    if not then.differs_in(drafted):
        return {"outcome": "same"}
    today = End.of(laboratory.run(job, program.current), job.output_bytes)
    # Fields that differ between two runs under the profile in force say nothing about the draft.
    restless = set(then.differs_in(today))
    changed = [name for name in today.differs_in(drafted) if name not in restless or name in END]
    if not changed:
        return {"outcome": "unsteady", "differs": sorted(restless)}
    traced = laboratory.run(job, draft, traced=True)
    return {
        "outcome": "breaks",
        "differs": changed,
        "was": today.status,
        "is": drafted.status,
        "refused": traced.trace.order if traced.trace else [],
    }


def _summary(counts: Counter[str], wanted: int) -> str:
    tried = sum(counts.values())
    if not wanted:
        return (
            "Nothing to run again: none of this runtime's latest programs ended by itself and is stored unchanged."
        )
    told = f"{counts['breaks']} of {tried} executions would end differently, {counts['same']} the same."
    if counts["unsteady"]:
        told += f" {counts['unsteady']} are unsteady: they end differently whatever the profile."
    if tried < wanted:
        told += f" {wanted - tried} were not tried: the time budget of {BUDGET_S} s was used up."
    return told


# Outcomes that depend on the program, not on the platform or on a caller who disconnected.
TELLING = (
    Outcome.COMPLETED,
    Outcome.NONZERO_EXIT,
    Outcome.SIGNALLED,
    Outcome.RESULT_INVALID,
    Outcome.STDOUT,
    Outcome.STDERR,
)
