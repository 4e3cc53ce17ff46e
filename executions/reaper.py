"""Ends executions that no worker will finish, and removes what ended ones left behind. Runs in the keeper."""

import logging
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from executions import services
from executions.models import Execution, Outcome, OutputChunk, Status
from executions.requeueing import recover
from executions.verdict import Verdict
from sandbox_platform.kit import liveness

logger = logging.getLogger(__name__)

# A task that leaves the queue reaches a worker at once (see cluster.HandOver); after this time it counts as lost.
REQUEUE_AFTER = timedelta(seconds=10)
# Cap per tick: each requeue costs a transaction, and the keeper has other work.
REQUEUE_AT_ONCE = 500
ORPHANS = """
    SELECT e.id, e.client_id, e.enqueued_at FROM executions_execution e
    WHERE e.status = 'queued' AND e.enqueued_at < %s
      AND NOT EXISTS (SELECT FROM django_q_ormq q WHERE q.execution_id = e.id)
    ORDER BY e.id LIMIT %s
"""
# By the clock of Postgres alone: that of the web, which stamped the execution, may have been wrong or set since. One
# that has no task waits for requeue_orphans().
OVERDUE = """
    SELECT e.id FROM executions_execution e JOIN django_q_ormq q ON q.execution_id = e.id
    WHERE e.status = 'queued' AND q.lock < now() - make_interval(secs => %s)
"""
# Time that a run may need beyond its wall time: to start a sandbox, and to store the result across a restart of
# Postgres.
SLACK = timedelta(seconds=150)
# A cluster of workers that survives a restart of Postgres holds its lock again within a second of its return.
RECONNECTED_AFTER = timedelta(seconds=5)
# Far longer than the writing of a chunk can outlast its run.
SWEEP_AFTER = timedelta(minutes=2)

# A worker is dead when its Postgres session is gone. A restart of Postgres ends all sessions, and then:
# - a run without a claimed sandbox is lost at once. Its worker may be alive, but can claim no sandbox for it any more;
# - another run is lost when the lock of its worker's cluster is still free after a while. If the cluster is alive and
#   only the worker's process died, the run waits for its deadline.
# After the crash of one of its processes Postgres restarts under the same postmaster; then only the checkpointer's
# start time shows the restart, if this role may read it. The runs of all nodes are examined: a node that is gone has no
# keeper.
LOST = """
    WITH restart AS MATERIALIZED (
        SELECT COALESCE(
            (SELECT backend_start FROM pg_stat_activity WHERE backend_type = 'checkpointer'),
            pg_postmaster_start_time()) AS at
    )
    SELECT e.id, e.requeues FROM executions_execution e, restart
    WHERE e.status = 'running' AND (
        e.claimed_at > restart.at
            AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = e.worker_backend)
        OR e.claimed_at <= restart.at AND NOT EXISTS (
            SELECT FROM executions_sandbox s WHERE s.execution_id = e.id AND s.state = 'claimed')
        OR e.claimed_at <= restart.at AND e.worker_cluster <> ALL(%s)
            AND (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
                < now() - make_interval(secs => %s)
        OR COALESCE(
                -- By the clock of Postgres; the execution's own time is the worker's.
                (SELECT s.claimed_at FROM executions_sandbox s WHERE s.execution_id = e.id AND s.state = 'claimed'),
                e.claimed_at
            ) + make_interval(secs => (e.limits->>'wall_time_ms')::float / 1000 + %s) < now()
    )
"""


def reap_lost() -> int:
    """Recover runs whose worker is dead; return how many."""
    clusters = sorted(liveness.clusters_alive())
    with connection.cursor() as cursor:
        cursor.execute(LOST, [clusters, RECONNECTED_AFTER.total_seconds(), SLACK.total_seconds()])
        lost = cursor.fetchall()
    for execution_id, requeues in lost:
        recover(execution_id, requeues)
    return len(lost)


def expire_queued() -> int:
    """End executions that waited longer than SANDBOX_QUEUE_TIMEOUT since they were last queued; return how many."""
    limit_s = settings.SANDBOX_QUEUE_TIMEOUT_MS / 1000
    with connection.cursor() as cursor:
        cursor.execute(OVERDUE, [limit_s])
        expired = [row[0] for row in cursor.fetchall()]
    message = f"Queue timeout: no worker was free for {limit_s:g} s."
    for execution_id in expired:
        services.finish(execution_id, Verdict(Status.CANCELLED, Outcome.QUEUE_TIMEOUT, message))
    return len(expired)


def requeue_orphans() -> int:
    """Queue executions again whose task was lost with a cluster; return how many.

    A duplicate task does no harm: see tasks.take.
    """
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
    """Delete live output of executions that have ended, whose rows hold it; return the number of chunks."""
    old = OutputChunk.objects.filter(created_at__lt=timezone.now() - SWEEP_AFTER)
    return old.exclude(execution_id__in=Execution.objects.open().values("pk")).delete()[0]
