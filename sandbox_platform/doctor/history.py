from datetime import timedelta

from django.db import connection
from django.utils import timezone

from audit.models import Pending, Seal
from sandbox_platform.doctor.check import Check, broken, ok, warning

# Keepers seal every hour. A keeper with many rows to seal may be late.
LATE = timedelta(hours=2)


def seals(name: str) -> Check:
    last = Seal.objects.order_by("-sequence").first()
    fix = "see the keeper's log, or run `manage.py seal`"
    if last is None:
        return warning(name, "no seal yet", fix)
    detail = f"{last}, made {last.created_at:%Y-%m-%d %H:%M} UTC; {Pending.objects.count()} rows pending"
    return warning(name, detail, fix) if timezone.now() - last.created_at > LATE else ok(name, detail)


def guards(name: str) -> Check:
    """Check that every trigger that protects the history is enabled."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgrelid::regclass || '.' || tgname, tgenabled FROM pg_trigger"
            " WHERE tgname LIKE 'audit\\_%' OR tgname LIKE 'pgtrigger\\_%' ORDER BY 1"
        )
        triggers = dict(cursor.fetchall())
    if off := [trigger for trigger, state in triggers.items() if state not in ("O", "A")]:
        fix = "find out who disabled it, ALTER TABLE … ENABLE TRIGGER …, then run `manage.py verify_audit`"
        return broken(name, f"disabled: {', '.join(off)}", fix)
    return ok(name, f"{len(triggers)} triggers enabled")
