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


def _last_seal() -> LastRun:
    seal = Seal.objects.order_by("-sequence").first()
    return LastRun(seal.created_at, str(seal).capitalize()) if seal else LastRun()


def _last_purge() -> LastRun:
    if purge := PurgeRecord.objects.order_by("-id").first():
        return LastRun(purge.created_at, str(purge).capitalize())
    return LastRun(words="" if RetentionPolicy.objects.exists() else "No policy: everything is kept.")


declare(
    Job(
        "Seal the history",
        "Hash the rows that became final, so that later changes are detected.",
        EVERY,
        run_due,
        recorded=True,
        last_run=_last_seal,
    )
)
# The sealing job purges as well. This entry only shows the last purge and does no work.
declare(
    Job(
        "Purge by retention",
        "After each seal, delete what the retention policies no longer keep.",
        EVERY,
        lambda: None,
        look_every_s=EVERY.total_seconds(),
        last_run=_last_purge,
    )
)
