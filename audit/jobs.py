"""The hourly jobs of sealing and purging."""

from datetime import timedelta

from django.utils import timezone

from audit import purging, sealing
from audit.models import PurgeRecord, RetentionPolicy, Seal
from sandbox_platform.kit.jobs import Job, LastRun, declare

EVERY = timedelta(hours=1)


def run_due() -> None:
    """Seal if the last seal is an hour old, and purge after sealing, because only sealed rows may be purged."""
    if sealing.seal(older_than=timezone.now() - EVERY) and RetentionPolicy.objects.exists():
        for _ in purging.purge():
            pass


def _last_run() -> LastRun:
    seal = Seal.objects.order_by("-sequence").first()
    purge = PurgeRecord.objects.order_by("-id").first()
    if purge:
        purged = f"{str(purge).capitalize()}, {purge.created_at:%Y-%m-%d %H:%M:%S}."
    else:
        purged = "Nothing was purged." if RetentionPolicy.objects.exists() else "No retention policy: all is kept."
    return LastRun(seal.created_at, f"{str(seal).capitalize()}. {purged}") if seal else LastRun(words=purged)


declare(
    Job(
        "Seal the history, and purge",
        "Hash the rows that became final, so that a later change shows. Then delete what no retention policy keeps.",
        EVERY,
        run_due,
        recorded=True,
        last_run=_last_run,
    )
)
