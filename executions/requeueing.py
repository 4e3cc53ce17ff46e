"""Queue a run again that its worker cannot finish, or end it as lost if its program may have started.

No program is started twice. A claimed sandbox is the durable mark that one may have started: a worker sends the job
only after the claim is committed. A claim and a requeue lock the execution's row, so one of them sees the other (see
pool.CLAIM), and each requeue makes the claims and ends of the earlier attempt void.
"""

import logging
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from executions import services
from executions.models import Execution, Outcome, Status
from executions.verdict import Verdict, cancellation
from sandboxes import pool

logger = logging.getLogger(__name__)

MAX_REQUEUES = 3
MAY_HAVE_STARTED = (
    "Worker lost: the worker died during the run. The program may have run in part and is not retried."
)
NEVER_STARTED = (
    f"Worker lost: {MAX_REQUEUES + 1} workers died or lost Postgres before the program could start. It never ran."
)


def recover(execution_id: UUID, requeues: int, *, job_sent: bool | None = None) -> None:
    """Queue the attempt's execution again, or end it. Do nothing if it has ended or was queued again meanwhile.

    `job_sent`: None if only a dead worker knew; then a claimed sandbox counts as one that got the job.
    """
    with transaction.atomic():
        execution = _locked(execution_id, requeues)
        if execution is None:
            return
        # This statement begins after the lock was taken, so it sees every claim.
        if pool.has_claimed(execution_id) if job_sent is None else job_sent:
            logger.warning("execution %s: worker died", execution_id)
            _end(execution_id, MAY_HAVE_STARTED, started=True)
            return
        pool.release(execution_id, claimed=job_sent is False)
        if execution.cancel_requested_at:
            services.finish(execution_id, cancellation(Outcome(execution.cancel_outcome)))
        elif requeues >= MAX_REQUEUES:
            _end(execution_id, NEVER_STARTED, started=False)
        else:
            _queue_again(execution, requeues)


def hand_back(execution_id: UUID, requeues: int) -> bool:
    """Queue the attempt's execution again if no sandbox is claimed for it, so that another node takes it.

    For a worker that lives: what it still does for the attempt is void. Return False if it goes on with it.
    """
    with transaction.atomic():
        execution = _locked(execution_id, requeues)
        if execution is None or execution.cancel_requested_at or requeues >= MAX_REQUEUES:
            return False
        if pool.has_claimed(execution_id):
            return False
        pool.release(execution_id, claimed=False)
        _queue_again(execution, requeues)
        return True


def _locked(execution_id: UUID, requeues: int) -> Execution | None:
    attempt = Execution.objects.filter(pk=execution_id, status=Status.RUNNING, requeues=requeues)
    return attempt.only("client_id", "cancel_requested_at", "cancel_outcome").select_for_update().first()


def _queue_again(execution: Execution, requeues: int) -> None:
    logger.warning("execution %s: queued again", execution.pk)
    Execution.objects.filter(pk=execution.pk).update(
        status=Status.QUEUED,
        requeues=requeues + 1,
        enqueued_at=timezone.now(),
        claimed_at=None,
        node="",
        worker_backend=None,
        worker_cluster=None,
    )
    services.enqueue(execution)


def _end(execution_id: UUID, message: str, *, started: bool) -> None:
    services.finish(execution_id, Verdict(Status.PLATFORM_ERROR, Outcome.WORKER_LOST, message), started=started)
