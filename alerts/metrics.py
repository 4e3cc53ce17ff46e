"""Figures of the platform's own alerts."""

from collections import Counter
from collections.abc import Iterator

from django.db.models import Count

from alerts.models import Alert, Notification, Severity
from alerts.models.notifications import NotificationStatus
from sandbox_platform.kit.metrics import Figure, Reading, Value, declare

FIGURES = (
    Figure("alerts_firing", "Alerts of the console that fire, by severity.", ("severity",)),
    Figure("alert_messages_pending", "Messages about alerts that wait for their next attempt."),
)


def read() -> Iterator[Value]:
    rows = Alert.objects.firing().order_by().values_list("severity").annotate(number=Count("pk"))
    numbers = Counter(dict(rows))
    for severity in Severity.values:
        yield Value("alerts_firing", numbers[severity], (severity,))
    pending = Notification.objects.filter(status=NotificationStatus.PENDING).order_by()
    yield Value("alert_messages_pending", pending.count())


declare(Reading(FIGURES, read))
