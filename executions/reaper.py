"""Finds executions that nobody will finish any more, and finishes them; and what finished ones left behind. Runs
in the keeper."""

import logging
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from executions import services
from executions.models import Execution, Outcome, OutputChunk, Status
from executions.verdict import Verdict

logger = logging.getLogger(__name__)

# A task taken out of the queue reaches a worker at once: see cluster.HandOver.
REQUEUE_AFTER = timedelta(seconds=10)
# Each costs a transaction, and the keeper has other work; the next ones come with the next tick.
REQUEUE_AT_ONCE = 500
ORPHANS = """
    SELECT e.id, e.client_id, e.enqueued_at FROM executions_execution e
    WHERE e.status = 'queued' AND e.enqueued_at < %s
      AND NOT EXISTS (SELECT FROM django_q_ormq q WHERE q.execution_id = e.id)
    ORDER BY e.id LIMIT %s
"""
OVERDUE = "SELECT id FROM executions_execution WHERE status = 'queued' AND queued_at < %s"
# Starting a sandbox, storing the result through a restart of Postgres: what a run may need beside its own time.
SLACK = timedelta(seconds=150)
# Far longer than a chunk can be on its way after the end of its run.
SWEEP_AFTER = timedelta(minutes=2)

# Postgres remembers its sessions until it restarts. After a restart every session is gone, and a worker that
# is still running its job would look dead: those wait for their deadline instead. When one of its processes
# crashes, Postgres restarts under the same postmaster; the checkpointer's age tells, to who may see it.
LOST = """
    SELECT e.id FROM executions_execution e
    WHERE e.status = 'running' AND e.node = %s
      AND (
        (e.claimed_at > COALESCE(
            (SELECT backend_start FROM pg_stat_activity WHERE backend_type = 'checkpointer'),
            pg_postmaster_start_time())
         AND NOT EXISTS (SELECT 1 FROM pg_stat_activity a WHERE a.pid = e.worker_backend))
        OR e.claimed_at + make_interval(secs => (e.limits->>'wall_time_ms')::float / 1000 + %s) < now()
      )
"""


def reap_lost() -> int:
    """Executions whose worker is dead. They are not run again: their code may have had its effects."""
    with connection.cursor() as cursor:
        cursor.execute(LOST, [settings.SANDBOX_NODE, SLACK.total_seconds()])
        lost = [row[0] for row in cursor.fetchall()]
    for execution_id in lost:
        logger.warning("execution %s: its worker died", execution_id)
        message = "The worker that ran this died. The program may have run in part; it is not run twice."
        services.finish(execution_id, Verdict(Status.PLATFORM_ERROR, Outcome.WORKER_LOST, message))
    return len(lost)


def expire_queued() -> int:
    """Executions that waited longer than anybody should."""
    limit = timedelta(milliseconds=settings.SANDBOX_QUEUE_TIMEOUT_MS)
    with connection.cursor() as cursor:
        cursor.execute(OVERDUE, [timezone.now() - limit])
        expired = [row[0] for row in cursor.fetchall()]
    message = f"No worker was free for {limit.total_seconds():g} s."
    for execution_id in expired:
        services.finish(execution_id, Verdict(Status.CANCELLED, Outcome.QUEUE_TIMEOUT, message))
    return len(expired)


def requeue_orphans() -> int:
    """Queued executions whose task went down with a cluster. A task too many does no harm: see tasks.take."""
    orphans = list(Execution.objects.raw(ORPHANS, [timezone.now() - REQUEUE_AFTER, REQUEUE_AT_ONCE]))
    for orphan in orphans:
        with transaction.atomic():
            claimed = Execution.objects.filter(
                pk=orphan.pk, status=Status.QUEUED, enqueued_at=orphan.enqueued_at
            ).update(enqueued_at=timezone.now())
            if claimed:
                services.enqueue(orphan)
    return len(orphans)


def sweep_output() -> int:
    """Live output of executions that have ended: their rows have it."""
    old = OutputChunk.objects.filter(created_at__lt=timezone.now() - SWEEP_AFTER)
    return old.exclude(execution_id__in=Execution.objects.open().values("pk")).delete()[0]
