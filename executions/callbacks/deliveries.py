"""Queues due deliveries, claims them, and records their attempts."""

import secrets
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from django_q.models import OrmQ

from executions.callbacks.models import Delivery, DeliveryAttempt, DeliveryStatus
from executions.callbacks.sender import Answer
from sandbox_platform.kit.notify import CALLBACK, notify
from sandbox_platform.kit.services import Service
from sandbox_platform.kit.tasks import Task

# A cluster of its own: it sends requests to the outside, so it must not have Docker's socket, and slow receivers must
# not delay runs.
CLUSTER = settings.CALLBACK_CLUSTER
DELIVER = Task(
    "deliver callback",
    "executions.callbacks.tasks.deliver",
    senders=[Service.KEEPER, Service.CALLBACKS],
    queue=CLUSTER,
)
MAX_ATTEMPTS = 10
# 9 s, 27 s, 81 s ... 16 h: ten attempts in about 25 hours.
FIRST_PAUSE_S = 9
FACTOR = 3
JITTER = 0.2
# A task that was queued or claimed this long ago was lost with its worker.
LEASE = timedelta(minutes=10)
# At most this many tasks wait in the queue, and clients take turns: a slow receiver delays other clients by a minute.
QUEUE_LENGTH = 16

CLAIM = """
    WITH due AS (
        SELECT d.id, d.next_attempt_at,
               row_number() OVER (PARTITION BY e.client_id ORDER BY d.next_attempt_at, d.id) AS turn
        FROM executions_delivery d JOIN executions_execution e ON e.id = d.execution_id
        WHERE d.status = 'pending' AND d.next_attempt_at <= statement_timestamp()
    ), mine AS (
        SELECT d.id FROM executions_delivery d JOIN due USING (id)
        ORDER BY due.turn, due.next_attempt_at LIMIT %s FOR UPDATE OF d SKIP LOCKED
    )
    UPDATE executions_delivery d SET next_attempt_at = statement_timestamp() + make_interval(secs => %s) FROM mine
    WHERE d.id = mine.id AND d.status = 'pending' AND d.next_attempt_at <= statement_timestamp()
    RETURNING d.id, d.attempt_count
"""


def enqueue_due() -> int:
    """Queue due deliveries while the queue has room; return how many.

    Every keeper and every finished task may call this: the claim ensures that no delivery is queued twice.
    """
    if not Delivery.objects.filter(status=DeliveryStatus.PENDING, next_attempt_at__lte=timezone.now()).exists():
        return 0
    room = QUEUE_LENGTH - OrmQ.objects.filter(key=CLUSTER).count()
    if room <= 0:
        return 0
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(CLAIM, [room, LEASE.total_seconds()])
            claimed = cursor.fetchall()
        for delivery_id, attempt_count in claimed:
            DELIVER.enqueue(delivery_id, attempt_count)
    return len(claimed)


def take(delivery_id: int, attempt_count: int) -> Delivery | None:
    """Claim the next attempt; return the delivery, or None if another task has it.

    The attempt is counted before it is made, so that a delivery that crashes its worker is not retried forever.
    """
    taken = Delivery.objects.filter(
        pk=delivery_id, status=DeliveryStatus.PENDING, attempt_count=attempt_count
    ).update(attempt_count=attempt_count + 1, next_attempt_at=timezone.now() + LEASE)
    if not taken:
        return None
    return Delivery.objects.select_related("execution__client", "execution__runtime").get(pk=delivery_id)


@transaction.atomic
def record(delivery: Delivery, at: datetime, answer: Answer) -> None:
    DeliveryAttempt.objects.create(
        delivery=delivery,
        at=at,
        status_code=answer.status_code,
        duration_ms=answer.duration_ms,
        error=answer.error,
    )
    delivery.status = _status_after(delivery, answer)
    delivery.last_status_code, delivery.last_error = answer.status_code, answer.error
    now = timezone.now()
    if delivery.status == DeliveryStatus.PENDING:
        delivery.next_attempt_at = now + pause_after(delivery.attempt_count)
    else:
        delivery.next_attempt_at, delivery.finished_at = None, now
    delivery.save(update_fields=["status", "last_status_code", "last_error", "next_attempt_at", "finished_at"])


def _status_after(delivery: Delivery, answer: Answer) -> DeliveryStatus:
    if answer.is_success:
        return DeliveryStatus.DELIVERED
    if answer.final:
        return DeliveryStatus.FAILED
    return DeliveryStatus.GIVEN_UP if delivery.attempt_count >= MAX_ATTEMPTS else DeliveryStatus.PENDING


def pause_after(attempts: int) -> timedelta:
    jitter = secrets.SystemRandom().uniform(1 - JITTER, 1 + JITTER)
    return timedelta(seconds=FIRST_PAUSE_S * FACTOR ** (attempts - 1) * jitter)


def send_again(delivery: Delivery) -> None:
    """Start the delivery over, with MAX_ATTEMPTS attempts.

    The message id stays the same, so a receiver can recognize a message that it has had.
    """
    with transaction.atomic():
        Delivery.objects.filter(pk=delivery.pk).update(
            status=DeliveryStatus.PENDING, attempt_count=0, next_attempt_at=timezone.now(), finished_at=None
        )
        notify(CALLBACK)
