"""What an object's history page shows beside Django's own list: each change with its value before and after."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from audit import queries
from audit.models.changes import LABELS, UPDATE
from executions.models import Execution, Status
from runtimes import resets
from runtimes.models import Runtime

MAY_SEE = "audit.view_trailentry"
# Entries of the trail on one page. The audit trail has all.
LATEST = 100
LONGEST = 300
# Columns that change with every other column.
UNTOLD = ("updated_at", "revision", "manifest_sha256")
# Columns whose values may be credentials. The audit trail shows them, and records that it did.
SECRET = ("environment",)
NOT_HERE = "not shown here"


@dataclass(frozen=True)
class Change:
    at: datetime
    who: str
    what: str
    before: str = ""
    after: str = ""


def changes_of(row: Any, user: Any) -> list[Change]:
    """Return the changes of a runtime or an execution, the newest first; [] for other rows.

    The changes of a runtime come from the audit trail, for people who may see it.
    """
    if isinstance(row, Execution):
        return sorted(_of_execution(row), key=lambda change: change.at, reverse=True)
    if isinstance(row, Runtime) and user.has_perm(MAY_SEE):
        return list(_of_runtime(row))
    return []


def _of_runtime(runtime: Runtime) -> Iterator[Change]:
    entries: Any = queries.trail()
    for entry in entries.tracks(runtime)[:LATEST]:
        if entry.pgh_label != UPDATE:
            yield Change(
                entry.pgh_created_at, entry.who, LABELS.get(entry.pgh_label, entry.pgh_label).capitalize()
            )
            continue
        for name, values in entry.changes.items():
            if name not in UNTOLD:
                before, after = ("" if value is None else _shown(name, value) for value in values)
                yield Change(entry.pgh_created_at, entry.who, resets.label(name), before, after)


def _shown(name: str, value: Any) -> str:
    if name in SECRET:
        return NOT_HERE
    if isinstance(value, bool) or name == "smoke":
        return json.dumps(value)[:LONGEST]
    try:
        return resets.format_value(name, value)
    except (TypeError, ValueError):  # the snapshot of an earlier release
        return str(value)[:LONGEST]


def _of_execution(execution: Execution) -> Iterator[Change]:
    client = f"client {execution.client}" if execution.client else "no client"
    yield Change(execution.queued_at, client, "Status", "", Status.QUEUED.label)
    status = Status.QUEUED.label
    if begun := execution.claimed_at or execution.started_at:
        yield Change(begun, "worker", "Status", status, Status.RUNNING.label)
        status = Status.RUNNING.label
    if execution.cancel_requested_at:
        yield Change(execution.cancel_requested_at, "", "Cancellation", "", "Requested")
    if execution.finished_at:
        yield Change(execution.finished_at, "worker", "Status", status, execution.get_status_display())
        if outcome := execution.get_outcome_display():
            yield Change(execution.finished_at, "worker", "Outcome", "", outcome)
