"""How many alerts fire: one number for the menu, the dashboard and the list of alerts."""

from collections import Counter

from django.http import HttpRequest

from alerts.models import Alert

KEPT = "_firing_alerts"


def firing_of(request: HttpRequest) -> Counter[str]:
    """Return the number by severity. It is read once for each request: alerts open and resolve between statements."""
    kept: dict[str, Counter[str]] = vars(request)
    if KEPT not in kept:
        kept[KEPT] = Counter(Alert.objects.firing().values_list("severity", flat=True))
    return kept[KEPT]
