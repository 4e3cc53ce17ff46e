"""Queues due deliveries, claims them, and records their attempts."""

import logging
import secrets
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from django_q.models import OrmQ

from executions.callbacks.models import Delivery, DeliveryAttempt, DeliveryStatus
from executions.callbacks.sender import Answer
from executions.models import Execution
from executions.sources import Callback
from sandbox_platform.kit.locks import Lock
from sandbox_platform.kit.notify import CALLBACK, notify
from sandbox_platform.kit.services import Service
from sandbox_platform.kit.tasks import Task

logger = logging.getLogger(__name__)

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
# A task that was queued or claimed this long ago was lost with its worker. A full queue of the slowest receivers takes
# half as long (QUEUE_LENGTH, CALLBACK_WORKERS, sender.TOTAL_S), and a task that comes late after all finds its attempt
# taken.
LEASE = timedelta(minutes=2)
# At most this many tasks wait in the queue, and clients take turns.
QUEUE_LENGTH = 16
# Deliveries of one client that are queued or being sent. One process is always left for the others.
PER_CLIENT = settings.CALLBACK_WORKERS - 1

CLAIM = """
    WITH pending AS (
        SELECT d.id, d.host, e.client_id, d.next_attempt_at, d.next_attempt_at <= statement_timestamp() AS due,
            d.in_flight_since > statement_timestamp() - make_interval(secs => %(lease)s)
                AND d.next_attempt_at > statement_timestamp() AS in_flight
        FROM executions_delivery d JOIN executions_execution e ON e.id = d.execution_id WHERE d.status = 'pending'
    ), at_host AS (
        SELECT *, row_number() OVER (PARTITION BY host ORDER BY in_flight IS TRUE DESC, next_attempt_at, id) AS place
        FROM pending WHERE due OR in_flight
    ), of_client AS (
        SELECT *, row_number() OVER (PARTITION BY client_id ORDER BY in_flight IS TRUE DESC, next_attempt_at, id)
            AS turn
        FROM at_host WHERE place <= %(per_host)s OR in_flight
    ), mine AS (
        SELECT d.id FROM executions_delivery d JOIN of_client USING (id)
        WHERE of_client.in_flight IS NOT TRUE AND of_client.turn <= %(per_client)s
        ORDER BY of_client.turn, of_client.next_attempt_at LIMIT %(room)s FOR UPDATE OF d SKIP LOCKED
    )
    UPDATE executions_delivery d SET in_flight_since = statement_timestamp(),
        next_attempt_at = statement_timestamp() + make_interval(secs => %(lease)s) FROM mine
    WHERE d.id = mine.id AND d.status = 'pending' AND d.next_attempt_at <= statement_timestamp()
    RETURNING d.id, d.attempt_count
"""
# The oldest ones stay. Those in flight end by themselves.
GIVE_UP = """
    WITH placed AS (
        SELECT d.id, row_number() OVER (PARTITION BY d.host ORDER BY d.id) AS at_host,
            row_number() OVER (PARTITION BY e.client_id ORDER BY d.id) AS of_client
        FROM executions_delivery d JOIN executions_execution e ON e.id = d.execution_id WHERE d.status = 'pending'
    )
    UPDATE executions_delivery d SET status = 'given_up', next_attempt_at = NULL, in_flight_since = NULL,
        finished_at = now(), last_error = format(
            'Given up: more than %%s callbacks %%s were pending (SANDBOX_CALLBACK_PENDING).', %(most)s::int,
            CASE WHEN at_host > %(most)s THEN 'to this host' ELSE 'of this client' END)
    FROM placed WHERE d.id = placed.id AND greatest(at_host, of_client) > %(most)s
        AND d.status = 'pending' AND d.in_flight_since IS NULL
"""


def keep_going() -> int:
    """Give up what is pending beyond the bounds, and queue what is due. Return the number that was queued."""
    give_up_excess()
    return enqueue_due()


def give_up_excess() -> int:
    """End pending deliveries of a host or a client beyond SANDBOX_CALLBACK_PENDING; return how many."""
    most = settings.SANDBOX_CALLBACK_PENDING
    if Delivery.objects.filter(status=DeliveryStatus.PENDING).count() <= most:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(GIVE_UP, {"most": most})
        given_up = cursor.rowcount
    if given_up:
        logger.warning("callbacks: %s given up: too many pending (SANDBOX_CALLBACK_PENDING)", given_up)
    return int(given_up)


def enqueue_due() -> int:
    """Queue due deliveries while the queue, their hosts and their clients have room; return how many.

    Every keeper and every finished task may call this: the claim ensures that no delivery is queued twice.
    """
    if not Delivery.objects.filter(status=DeliveryStatus.PENDING, next_attempt_at__lte=timezone.now()).exists():
        return 0
    room = QUEUE_LENGTH - OrmQ.objects.filter(key=CLUSTER).count()
    if room <= 0:
        return 0
    with transaction.atomic():
        with connection.cursor() as cursor:
            # Two at a time would not see what the other one puts in flight.
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [Lock.DELIVERIES])
            bounds = {"per_host": settings.SANDBOX_CALLBACK_PER_HOST, "per_client": PER_CLIENT}
            cursor.execute(CLAIM, {"room": room, "lease": LEASE.total_seconds()} | bounds)
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
    ).update(
        attempt_count=attempt_count + 1, in_flight_since=timezone.now(), next_attempt_at=timezone.now() + LEASE
    )
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
    delivery.in_flight_since, now = None, timezone.now()
    if delivery.status == DeliveryStatus.PENDING:
        delivery.next_attempt_at = now + pause_after(delivery.attempt_count)
    else:
        delivery.next_attempt_at, delivery.finished_at = None, now
    delivery.save(
        update_fields=[
            *("status", "last_status_code", "last_error", "in_flight_since", "next_attempt_at", "finished_at")
        ]
    )


def _status_after(delivery: Delivery, answer: Answer) -> DeliveryStatus:
    if answer.is_success:
        return DeliveryStatus.DELIVERED
    if answer.final:
        return DeliveryStatus.FAILED
    return DeliveryStatus.GIVEN_UP if delivery.attempt_count >= MAX_ATTEMPTS else DeliveryStatus.PENDING


def pause_after(attempts: int) -> timedelta:
    jitter = secrets.SystemRandom().uniform(1 - JITTER, 1 + JITTER)
    return timedelta(seconds=FIRST_PAUSE_S * FACTOR ** (attempts - 1) * jitter)


def callback_of(execution: Execution) -> Callback | None:
    delivery = Delivery.objects.filter(execution=execution).first()
    if delivery is None:
        return None
    return Callback(
        status=delivery.status,
        words=delivery.get_status_display(),
        attempts=delivery.attempt_count,
        status_code=delivery.last_status_code,
        error=delivery.last_error,
        next_attempt_at=delivery.next_attempt_at,
        finished_at=delivery.finished_at,
    )


def send_again(delivery: Delivery) -> None:
    """Start the delivery over, with MAX_ATTEMPTS attempts.

    The message id stays the same, so a receiver can recognize a message that it has had.
    """
    with transaction.atomic():
        Delivery.objects.filter(pk=delivery.pk).update(
            status=DeliveryStatus.PENDING,
            attempt_count=0,
            in_flight_since=None,
            next_attempt_at=timezone.now(),
            finished_at=None,
        )
        notify(CALLBACK)
