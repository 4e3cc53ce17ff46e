from datetime import timedelta

from django.db import connection
from django.utils import timezone

from audit.models import Pending, Seal
from sandbox_platform.doctor.check import Check, broken, ok, warning

# Keepers seal every hour; one that is busy with a long queue is late.
LATE = timedelta(hours=2)


def seals(name: str) -> Check:
    last = Seal.objects.order_by("-sequence").first()
    fix = "see the keeper's log, or run `manage.py seal`"
    if last is None:
        return warning(name, "nothing is sealed yet", fix)
    detail = f"{last}, made {last.created_at:%Y-%m-%d %H:%M} UTC; {Pending.objects.count()} rows wait for the next"
    return warning(name, detail, fix) if timezone.now() - last.created_at > LATE else ok(name, detail)


def guards(name: str) -> Check:
    """The triggers that keep history as it is are there, and nobody left one switched off."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgrelid::regclass || '.' || tgname, tgenabled FROM pg_trigger"
            " WHERE tgname LIKE 'audit\\_%' OR tgname LIKE 'pgtrigger\\_%' ORDER BY 1"
        )
        triggers = dict(cursor.fetchall())
    if off := [trigger for trigger, state in triggers.items() if state not in ("O", "A")]:
        fix = "find out who did it, ALTER TABLE … ENABLE TRIGGER …, then run `manage.py verify_audit`"
        return broken(name, f"switched off: {', '.join(off)}", fix)
    return ok(name, f"{len(triggers)} triggers are on")
