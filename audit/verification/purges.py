"""Whether the policies in force justified each purge.

A purge record alone proves nothing: whoever may write rows can write one. What is asked instead is sealed: the history
of the policies in the audit trail, and in the execution's leaf whose it was and when it ended, which outlive the row.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from audit.models import ExecutionPart, PurgeRecord, RetentionPolicyEvent
from audit.models.changes import DELETE
from audit.sealing import stream
from audit.sources import EXECUTIONS
from audit.verification.findings import Finding

# Tolerance between the clock of the process that purged and that of the database, which dates changes of policies.
CLOCKS_DIFFER = timedelta(minutes=5)
# Leaves of before they kept it do not say when the execution ended. Its id says when it was submitted: by the node's
# clock, and it ended later.
NODES_DIFFER = timedelta(hours=1)
FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Version:
    """A policy as it was from one change to the next."""

    policy: Any
    begin: datetime
    end: datetime

    def meets(self, begin: datetime, end: datetime) -> bool:
        return self.begin <= end and self.end >= begin

    def covers(self, begin: datetime, end: datetime) -> bool:
        return self.begin < begin and self.end > end


@dataclass(frozen=True)
class Purged:
    """One execution that a purge record names, as its leaf has it."""

    execution: UUID
    sealed_at: datetime | None
    client: int | None
    ended_at: datetime | None
    client_known: bool


class Policies:
    """All versions of all policies, by the sealed audit trail."""

    def __init__(self) -> None:
        self._versions: list[Version] = []
        changes = RetentionPolicyEvent.objects.order_by("pgh_obj_id", "pgh_id")
        for _, of_one in groupby(changes, key=lambda change: change.pgh_obj_id):
            history = list(of_one)
            ends = [change.pgh_created_at for change in history[1:]] + [FOREVER]
            self._versions += [
                Version(change, change.pgh_created_at, end)
                for change, end in zip(history, ends, strict=True)
                if change.pgh_label != DELETE
            ]

    def days(self, kind: str, at: datetime, purged: Purged) -> list[int]:
        """Return after how many days policies in force at that time removed this kind. Empty: none did."""
        begin, end = at - CLOCKS_DIFFER, at + CLOCKS_DIFFER
        there = [version for version in self._versions if version.meets(begin, end)]
        if purged.client_known:
            own = [version for version in there if purged.client and version.policy.client_id == purged.client]
            has_own = any(version.covers(begin, end) for version in own)
            there = own + [version for version in there if version.policy.client_id is None and not has_own]
        days = [getattr(version.policy, f"keep_{kind}_days") for version in there]
        return [each for each in days if each is not None]


SQL = f"""
    SELECT r.id, r.kind, r.created_at, i.id, s.created_at, l.ended_at, l.client, t.finished_at, t.client_id
    FROM audit_purgerecord r CROSS JOIN LATERAL unnest(r.ids) AS i(id)
    LEFT JOIN audit_leaf l ON l.source = %s AND l.row_id = i.id::text
    LEFT JOIN audit_seal s ON s.sequence = l.seal
    LEFT JOIN {EXECUTIONS.table} t ON t.id = i.id
    ORDER BY r.id
"""


def check_purges() -> Iterator[Finding]:
    """Yield each purge record that does not justify what it names."""
    policies = Policies()
    for record, rows in groupby(stream(SQL, [EXECUTIONS.table]), key=itemgetter(0, 1, 2)):
        id_, kind, at = record
        checked = [(purged.execution, _problem(policies, kind, at, purged)) for purged in map(_purged, rows)]
        problems = [(execution, problem) for execution, problem in checked if problem]
        if problems:
            execution, problem = problems[0]
            others = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
            words = f"does not justify the purge of execution {execution}{others}: {problem}"
            yield Finding(PurgeRecord._meta.db_table, str(id_), words)


def _purged(row: tuple[Any, ...]) -> Purged:
    execution, sealed_at, ended_at, client, row_ended_at, row_client = row[3:]
    if ended_at:
        return Purged(execution, sealed_at, client, ended_at, True)
    if row_ended_at:
        return Purged(execution, sealed_at, row_client, row_ended_at, True)
    submitted = datetime.fromtimestamp((execution.int >> 80) / 1000, UTC)
    return Purged(execution, sealed_at, None, submitted - NODES_DIFFER, False)


def _problem(policies: Policies, kind: str, at: datetime, purged: Purged) -> str:
    if purged.sealed_at is None or purged.ended_at is None:
        return "no seal covers it"
    if purged.sealed_at > at + CLOCKS_DIFFER:
        return f"it was sealed later, {purged.sealed_at:%Y-%m-%d %H:%M:%S}"
    part = ExecutionPart(kind).label.lower() if kind in ExecutionPart.values else kind
    days = policies.days(kind, at, purged) if kind in ExecutionPart.values else []
    if not days:
        return f"no policy in force for its client at {at:%Y-%m-%d %H:%M:%S} removed {part}"
    if purged.ended_at + timedelta(days=min(days)) > at:
        age = (at - purged.ended_at).days
        return f"the policy kept {part} for {min(days)} days, and it had ended {age} days before"
    return ""
