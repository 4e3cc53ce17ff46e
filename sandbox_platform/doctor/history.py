from datetime import timedelta

from django.db import connection
from django.utils import timezone

from audit import heads, partitions
from audit.models import HeadDestination, Pending, Seal, SealingFailure, SealKey
from audit.verification.findings import LATE
from executions.models import Execution
from executions.models.ids import first_id, made_at
from executions.parts import history_parts
from sandbox_platform.doctor.check import Check, broken, ok, warning

SENT_WITHIN = timedelta(minutes=15)


def seals(name: str) -> Check:
    last = Seal.objects.order_by("-sequence").first()
    fix = "see the keeper's log, or run `manage.py seal` in the keeper"
    if last is None:
        return warning(name, "no seal yet", fix)
    detail = f"{last}, made {last.created_at:%Y-%m-%d %H:%M} UTC; {Pending.objects.count()} rows pending"
    return warning(name, detail, fix) if timezone.now() - last.created_at > LATE else ok(name, detail)


def seal_key(name: str) -> Check:
    """Check that a key signs seals, and show the first one's fingerprint, to be noted elsewhere."""
    if failure := SealingFailure.objects.first():
        return broken(name, f"nothing is sealed by {failure}", "see docs/audit.md, The key")
    keys = list(SealKey.objects.values_list("fingerprint", flat=True))
    if not keys:
        return warning(
            name, "no seal is signed yet", "see the keeper's log, or run `manage.py seal` in the keeper"
        )
    replaced = f"; in force is number {len(keys)}, {keys[-1]}" if len(keys) > 1 else ""
    return ok(name, f"the first is {keys[0]}{replaced}")


def seal_heads(name: str) -> Check:
    """Check that the heads of seals leave the machine."""
    if not (names := heads.configured()):
        return warning(name, "the heads of seals do not leave the machine", "set SANDBOX_HEADS_* in .env")
    rows = HeadDestination.objects.in_bulk([heads.row_name(each) for each in names])
    newest = Seal.objects.exclude(key="").order_by("-sequence").first()
    fix = "correct SANDBOX_HEADS_* in .env or the destination; each is tried again within an hour"
    for row in rows.values():
        if row.attempts:
            return warning(name, f"{row}: {row.attempts} failed attempts: {row.error}", fix)
        if row.delivered > (newest.sequence if newest else 0):
            gone = f"{row} has the head of seal {row.delivered}, which does not exist"
            return broken(name, gone, "run `manage.py verify_audit`")
    unsent = [each for each in names if _lacks(rows.get(heads.row_name(each)), newest)]
    if unsent:
        return warning(
            name, f"{newest} has not left by {', '.join(unsent)}", "see the keeper's and callbacks' logs"
        )
    return ok(name, f"{', '.join(names)}: {newest or 'no seal yet'}")


def _lacks(row: HeadDestination | None, newest: Seal | None) -> bool:
    if newest is None or timezone.now() - newest.created_at < SENT_WITHIN:
        return False
    return row is None or row.delivered < newest.sequence


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


def months(name: str) -> Check:
    """Check that a history that is partitioned by month has a partition for the next one."""
    parts = history_parts()
    if not parts:
        return ok(name, "the history is one table")
    following = partitions.next_month(timezone.now())
    wanted = first_id(following)
    fix = "see the keeper's log: it makes them every hour"
    if not any(part.high and (part.low is None or part.low <= wanted) and wanted < part.high for part in parts):
        return broken(name, f"there is no partition for {following:%Y-%m}", fix)
    newest = max(part.high for part in parts if part.high)
    if Execution.objects.filter(pk__gte=newest).exists():
        return warning(
            name,
            f"executions lie beyond the last partition, which ends {made_at(newest):%Y-%m-%d}",
            "correct the clock of the node that made them; the keeper moves them when their month is made",
        )
    return ok(name, f"{len(parts)} partitions, up to {made_at(newest):%Y-%m-%d}")
