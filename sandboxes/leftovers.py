"""What is left on this node: rows without containers, containers without rows, and doors of removed sandboxes."""

import logging
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from sandboxes import doors
from sandboxes.engine import Container, Engine
from sandboxes.models import Sandbox, SandboxState

logger = logging.getLogger(__name__)

# A row that is "starting" for this long belongs to a process that died during the start.
START_GRACE_S = 90


def reconcile(engine: Engine, unfinished: Callable[[Collection[UUID]], set[UUID]], ours_since: datetime) -> None:
    """Remove containers without rows, and mark rows as used that nobody will use. Raises EngineError.

    `unfinished`: returns those of the executions that are queued or running. `ours_since`: when the keeper began the
    oldest start that still goes on; now if none does.
    """
    rows = {row.pk: row for row in _mine()}
    containers = engine.containers()
    alive = {container.id for container in containers if container.running}
    _remove_unknown(engine, containers, rows.keys())
    _remove_doors(rows.keys())
    claimed = [row.execution_id for row in rows.values() if row.execution_id and row.state == SandboxState.CLAIMED]
    open_executions = unfinished(claimed)
    for row in rows.values():
        age = (timezone.now() - row.created_at).total_seconds()
        # No run's and no build's: an earlier keeper's, or that of a start that lost Postgres.
        abandoned = not (row.execution_id or row.held) and row.created_at < ours_since
        starter_died = row.state == SandboxState.STARTING and (abandoned or age > START_GRACE_S)
        died = row.state == SandboxState.READY and row.container_id not in alive
        # The reaper ended the execution, and its worker claimed the sandbox only afterwards.
        orphaned = row.state == SandboxState.CLAIMED and row.execution_id not in open_executions
        if starter_died or died or orphaned:
            _adopt_container(row, containers)
            _mine().filter(pk=row.pk, state=row.state).update(state=SandboxState.USED)


def _mine() -> QuerySet[Sandbox]:
    return Sandbox.objects.filter(node=settings.SANDBOX_NODE)


def _remove_unknown(engine: Engine, containers: Iterable[Container], rows: Collection[int]) -> None:
    for container in containers:
        # A row is written before its container, but rows were read first here: query again before removing.
        known = container.sandbox.isdigit() and (
            int(container.sandbox) in rows or _mine().filter(pk=container.sandbox).exists()
        )
        if not known:
            logger.warning("container %s has no row: removed", container.id[:12])
            engine.remove(container.id)


def _remove_doors(rows: Collection[int]) -> None:
    for sandbox_id in doors.all_made() - set(rows):
        if not _mine().filter(pk=sandbox_id).exists():
            try:
                doors.remove(sandbox_id)
            except OSError as e:
                logger.warning("the door of sandbox %s cannot be removed: %s", sandbox_id, e.strerror)


def _adopt_container(row: Sandbox, containers: Iterable[Container]) -> None:
    """Record the container of a row whose starter died before it could write the container's id."""
    for container in containers:
        if container.sandbox == str(row.pk) and not row.container_id:
            _mine().filter(pk=row.pk).update(container_id=container.id)
