"""Tells the keeper which executions run, were cancelled, or are unfinished."""

from collections.abc import Collection
from uuid import UUID

from django.db import connection

from executions.models import Execution
from sandbox_platform.kit.prepared import prepared
from sandboxes.calls import SandboxKind

RUNNING = "SELECT id, runtime_id, network FROM executions_execution WHERE status = 'running' AND node = %s"


class Executions:
    """Implements sandboxes.keeper.Occupancy."""

    def running(self, node: str) -> list[tuple[UUID, SandboxKind]]:
        with prepared(), connection.cursor() as cursor:
            cursor.execute(RUNNING, [node])
            return [(pk, (runtime, network)) for pk, runtime, network in cursor.fetchall()]

    def cancelled(self, node: str) -> list[UUID]:
        with prepared(), connection.cursor() as cursor:
            cursor.execute(f"{RUNNING} AND cancel_requested_at IS NOT NULL", [node])
            return [pk for pk, _, _ in cursor.fetchall()]

    def unfinished(self, executions: Collection[UUID]) -> set[UUID]:
        return set(Execution.objects.open().filter(pk__in=executions).values_list("pk", flat=True))
