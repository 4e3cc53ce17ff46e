"""Which system calls were refused to an execution: told by running it once more, traced, as it ran then."""

from typing import Any

from executions.models import Execution
from inspections.laboratory import Laboratory
from sandboxes.protocol import Job


def explain(
    laboratory: Laboratory, execution: Execution, job: Job, rules: dict[str, Any] | None
) -> dict[str, Any]:
    """Raises Cancelled and EngineError."""
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
        told = f"The profile {execution.profile_name} refused it {', '.join(refused)}."
    else:
        told = f"The profile {execution.profile_name} refused it nothing."
    if status != execution.status:
        told += f" It ended differently this time: {status}, then {execution.status}."
    return told
