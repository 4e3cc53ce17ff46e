"""Decides who is told what, queues the notifications that are due, claims them, and records their attempts."""

import logging
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from alerts import messages
from alerts.messages import Line
from alerts.models import (
    Alert,
    Attempt,
    Channel,
    Notification,
    NotificationKind,
    NotificationStatus,
    Rule,
    Severity,
    Silence,
)
from alerts.sending import Answer
from sandbox_platform.kit.locks import Lock
from sandbox_platform.kit.services import Service
from sandbox_platform.kit.tasks import Task

logger = logging.getLogger(__name__)

# The cluster that may call the outside. It has no access to Docker.
SEND = Task(
    "send alert",
    "alerts.tasks.send",
    senders=[Service.WEB, Service.KEEPER, Service.CALLBACKS],
    queue=settings.CALLBACK_CLUSTER,
)
MAX_ATTEMPTS = 7
# 9 s, 27 s, 81 s ... 36 min: seven attempts in about 55 minutes. A later alert helps nobody.
FIRST_PAUSE_S, FACTOR, JITTER = 9, 3, 0.2
# A task that was queued or claimed this long ago was lost with its worker.
LEASE = timedelta(minutes=5)
# Pending notifications of one channel, beyond which the oldest are given up: the newest says what is true now.
MOST_PENDING = 50


# --- What is told ---


def notify(conditions: Iterable[str], resolved: list[Alert], now: datetime) -> None:
    """Write one notification for each channel that has something to be told about alerts of these conditions."""
    silences = list(Silence.objects.in_force(now))
    rules = {rule.pk: rule for rule in Rule.objects.all()}
    channels = list(Channel.objects.filter(enabled=True).only("pk", "name", "kind", "lowest_severity", "host"))
    told: dict[int, list[tuple[str, Alert]]] = defaultdict(list)
    firing = Alert.objects.firing().filter(condition__in=list(conditions)).order_by("pk")
    for alert in firing:
        rule = rules.get(alert.rule_id or 0)
        event = _event(alert, rule, now)
        if rule is None or not event or _is_silenced(alert, silences):
            continue
        for channel in _channels_of(rule, alert, channels):
            told[channel.pk].append((event, alert))
    for alert in resolved:
        if alert.notified_at and not _is_silenced(alert, silences):
            # Whoever heard of it hears that it is over, whatever the rule says now.
            for key in set(alert.notifications.values_list("channel_id", flat=True)):
                told[key or 0].append((messages.RESOLVED, alert))
    for channel in channels:
        if channel.pk in told:
            _tell(channel, told[channel.pk], now)
    if told:
        enqueue_due()


def _event(alert: Alert, rule: Rule | None, now: datetime) -> str:
    """Return what is to be told about an alert that fires, "" for nothing."""
    if alert.notified_at is None:
        return messages.FIRING
    due = rule and rule.remind and now - alert.notified_at >= rule.remind
    return messages.REMINDER if due else ""


def _is_silenced(alert: Alert, silences: list[Silence]) -> bool:
    return any(silence.covers(alert.rule_id, alert.subject) for silence in silences)


def _channels_of(rule: Rule, alert: Alert, channels: list[Channel]) -> list[Channel]:
    return [
        channel
        for channel in channels
        if (not rule.channels or channel.name in rule.channels) and alert.severity in channel.takes
    ]


def _tell(channel: Channel, told: list[tuple[str, Alert]], now: datetime) -> None:
    ranked = sorted(told, key=lambda each: (each[0] == messages.RESOLVED, -Severity(each[1].severity).rank))
    notification = Notification.objects.create(
        channel=channel,
        channel_name=channel.name,
        host=channel.host,
        lines=[asdict(Line.of(alert, event)) for event, alert in ranked],
        next_attempt_at=now,
        created_at=now,
    )
    notification.alerts.set([alert for _, alert in told])
    fired = [alert.pk for event, alert in told if event != messages.RESOLVED]
    Alert.objects.filter(pk__in=fired).update(notified_at=now)


def test(channel: Channel, requested_by: str) -> Notification:
    """Queue a marked test message, also to a channel that is disabled."""
    now = timezone.now()
    with transaction.atomic():
        notification = Notification.objects.create(
            kind=NotificationKind.TEST,
            channel=channel,
            channel_name=channel.name,
            host=channel.host,
            requested_by=requested_by,
            next_attempt_at=now,
            created_at=now,
        )
        enqueue_due()
    return notification


# --- Delivery ---


def enqueue_due() -> int:
    """Queue the notifications that are due while their receivers have room; return how many. Anybody may call this."""
    now = timezone.now()
    with transaction.atomic():
        with connection.cursor() as cursor:
            # Two at a time would not see what the other one puts in flight.
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [Lock.NOTIFICATIONS])
        pending = list(
            Notification.objects.filter(status=NotificationStatus.PENDING).order_by("pk").defer("lines")
        )
        pending = _give_up_excess(pending, now)
        busy = Counter(each.host for each in pending if each.in_flight_since and not _is_due(each, now))
        queued = 0
        for notification in pending:
            if not _is_due(notification, now) or busy[notification.host] >= settings.SANDBOX_CALLBACK_PER_HOST:
                continue
            busy[notification.host] += 1
            queued += 1
            Notification.objects.filter(pk=notification.pk).update(
                in_flight_since=now, next_attempt_at=now + LEASE
            )
            SEND.enqueue(notification.pk, notification.attempt_count)
    return queued


def _is_due(notification: Notification, now: datetime) -> bool:
    return notification.next_attempt_at is not None and notification.next_attempt_at <= now


def _give_up_excess(pending: list[Notification], now: datetime) -> list[Notification]:
    numbers = Counter(each.channel_id for each in pending)
    kept = []
    for notification in pending:
        if numbers[notification.channel_id] <= MOST_PENDING or notification.in_flight_since:
            kept.append(notification)
            continue
        numbers[notification.channel_id] -= 1
        Notification.objects.filter(pk=notification.pk).update(
            status=NotificationStatus.GIVEN_UP,
            next_attempt_at=None,
            in_flight_since=None,
            finished_at=now,
            last_answer=f"Given up: more than {MOST_PENDING} notifications of this channel were pending.",
        )
    return kept


def take(notification_id: int, attempt_count: int) -> Notification | None:
    """Claim the next attempt; return None if another task has it.

    The attempt is counted before it is made, so that one that crashes its worker is not repeated forever.
    """
    now = timezone.now()
    taken = Notification.objects.filter(
        pk=notification_id, status=NotificationStatus.PENDING, attempt_count=attempt_count
    ).update(attempt_count=attempt_count + 1, in_flight_since=now, next_attempt_at=now + LEASE)
    return Notification.objects.select_related("channel").get(pk=notification_id) if taken else None


@transaction.atomic
def record(notification: Notification, at: datetime, answer: Answer) -> None:
    Attempt.objects.create(
        notification=notification, at=at, ok=answer.ok, duration_ms=answer.duration_ms, answer=answer.words[:300]
    )
    now = timezone.now()
    status = _status_after(notification, answer)
    pending = status == NotificationStatus.PENDING
    Notification.objects.filter(pk=notification.pk).update(
        status=status,
        last_answer=answer.words[:300],
        in_flight_since=None,
        next_attempt_at=now + pause_after(notification.attempt_count) if pending else None,
        finished_at=None if pending else now,
    )
    if not answer.ok:
        logger.warning("notification %s, attempt %s failed", notification.pk, notification.attempt_count)


def _status_after(notification: Notification, answer: Answer) -> NotificationStatus:
    if answer.ok:
        return NotificationStatus.DELIVERED
    # A test is answered now, and somebody waits for it.
    if answer.final or notification.kind == NotificationKind.TEST:
        return NotificationStatus.FAILED
    ended = notification.attempt_count >= MAX_ATTEMPTS
    return NotificationStatus.GIVEN_UP if ended else NotificationStatus.PENDING


def pause_after(attempts: int) -> timedelta:
    jitter = secrets.SystemRandom().uniform(1 - JITTER, 1 + JITTER)
    return timedelta(seconds=FIRST_PAUSE_S * FACTOR ** (attempts - 1) * jitter)
