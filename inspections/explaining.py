"""Trace an execution: run it again as it ran, traced, to name the system calls that were refused."""

from typing import Any

from executions.models import Execution
from inspections.laboratory import Laboratory
from sandboxes.protocol import Job


def explain(
    laboratory: Laboratory, execution: Execution, job: Job, rules: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the details of the inspection. Raises Cancelled and EngineError."""
    observed = laboratory.run(job, rules, traced=True)
    refused = dict(observed.trace.refused) if observed.trace else {}
    order = observed.trace.order if observed.trace else []
    status = observed.verdict.status if observed.verdict else "not started"
    return {
        "summary": _summary(order, execution, status),
        "refused": [{"name": name, "times": refused[name]} for name in order],
        "status": status,
        "exit_code": observed.verdict.exit_code if observed.verdict else None,
        "start_error": observed.start_error,
        "same_end": status == execution.status,
    }


def _summary(refused: list[str], execution: Execution, status: str) -> str:
    if refused:
        summary = f"The profile {execution.profile_name} refused {', '.join(refused)}."
    else:
        summary = f"The profile {execution.profile_name} refused no system call."
    if status != execution.status:
        summary += f" This run ended differently: {status}, the original run {execution.status}."
    return summary
