"""Tells the keeper which executions run, were cancelled, or are unfinished."""

from collections.abc import Collection
from uuid import UUID

from executions.models import Execution, Status
from sandboxes.calls import SandboxKind


class Executions:
    """Implements sandboxes.keeper.Occupancy."""

    def running(self, node: str) -> list[tuple[UUID, SandboxKind]]:
        rows = Execution.objects.filter(status=Status.RUNNING, node=node)
        return [(pk, (runtime, network)) for pk, runtime, network in rows.values_list("pk", "runtime", "network")]

    def cancelled(self, node: str) -> list[UUID]:
        rows = Execution.objects.filter(status=Status.RUNNING, node=node, cancel_requested_at__isnull=False)
        return list(rows.values_list("pk", flat=True))

    def unfinished(self, executions: Collection[UUID]) -> set[UUID]:
        return set(Execution.objects.open().filter(pk__in=executions).values_list("pk", flat=True))
