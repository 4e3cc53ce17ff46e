"""The periodic jobs of history: sealing and purging every hour, and sending the heads of seals away."""

import logging
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from audit import heads, keys, partitions, purging, sealing
from audit.models import HeadDestination, PurgeRecord, RetentionPolicy, Seal, SealingFailure
from sandbox_platform.kit.jobs import Job, LastRun, declare

logger = logging.getLogger(__name__)

EVERY = timedelta(hours=1)


def run_due() -> None:
    """Seal if the last seal is an hour old, and purge after sealing, because only sealed rows may be purged.

    A node without SANDBOX_SEAL_KEY_FILE leaves both to the others.
    """
    if not settings.SANDBOX_SEAL_KEY_FILE:
        return
    failures = SealingFailure.objects.filter(node=settings.SANDBOX_NODE)
    try:
        keys.prepare()
        keys.check_history()
        made = sealing.seal(older_than=timezone.now() - EVERY)
    except (keys.KeyUnusable, keys.HistoryReplaced) as e:
        logger.error("nothing is sealed: %s", e)
        now = timezone.now()
        failures.update_or_create(node=settings.SANDBOX_NODE, defaults={"at": now, "reason": str(e)})
        return
    failures.delete()
    if made:
        heads.send_due()
        for _ in purging.purge() if RetentionPolicy.objects.exists() else ():
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


def _last_sent() -> LastRun:
    rows = HeadDestination.objects.filter(name__in=map(heads.row_name, heads.configured()))
    times = [row.delivered_at for row in rows if row.delivered_at]
    words = "; ".join(
        f"{row}: seal {row.delivered}" + (f", failing: {row.error}" if row.error else "") for row in rows
    )
    return LastRun(max(times, default=None), words.capitalize())


declare(
    Job(
        "Send the heads of seals",
        "Send number, hash and signature of new seals to where SANDBOX_HEADS_* say, so that a replaced seal shows.",
        timedelta(minutes=1),
        heads.send_due,
        last_run=_last_sent,
    )
)


declare(
    Job(
        "Make the history's months",
        "Make the partitions of the next three months, where the history is partitioned by month.",
        timedelta(hours=1),
        partitions.make_ahead,
        look_every_s=3600.0,
    )
)
