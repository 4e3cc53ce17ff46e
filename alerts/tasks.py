"""The background task of the callbacks cluster: one attempt of one notification."""

from django.utils import timezone

from alerts import notifications, sending


def send(notification_id: int, attempt_count: int) -> None:
    """Make the attempt. Do nothing if the notification is gone, finished, or claimed by another task."""
    notification = notifications.take(notification_id, attempt_count)
    if notification is not None:
        now = timezone.now()
        notifications.record(notification, now, sending.send(notification))
    notifications.enqueue_due()
