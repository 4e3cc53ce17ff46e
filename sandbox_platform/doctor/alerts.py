from django.conf import settings

from alerts.models import Alert, Channel, ChannelKind, RuleState
from alerts.sending import NO_SERVER
from alerts.watch import unwatched
from sandbox_platform.doctor.check import Check, ok, warning


def alerts(name: str) -> Check:
    """Check that rules are evaluated, and that somebody is told."""
    if problem := unwatched():
        fix = "see Scheduled jobs in the console, and the keeper's and callbacks' logs"
        return warning(name, f"not watched: {problem}", fix)
    # Columns that the worker may read, which are not the addresses.
    kinds = list(Channel.objects.order_by("pk").filter(enabled=True).values_list("kind", flat=True))
    if not kinds:
        return warning(name, "nobody is told: no channel is enabled", "add one in the console: Alert channels")
    if ChannelKind.MAIL in kinds and not settings.SANDBOX_MAIL_CONFIGURED:
        return warning(name, "a channel sends mail, and there is no mail server", NO_SERVER)
    firing = Alert.objects.firing().count()
    rules = RuleState.objects.count()
    return ok(name, f"{rules} rules evaluated, {firing} firing, {len(kinds)} channels")
