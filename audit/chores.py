"""Sealing and purging, every hour, and counting the hours that are over. Each keeper does it: whoever comes first,
the others find it done."""

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

from django.db import connection
from django.utils import timezone

from audit import purging, sealing
from audit.models import RetentionPolicy
from console import figures

logger = logging.getLogger(__name__)

EVERY = timedelta(hours=1)
LOOK_EVERY_S = 60.0


class Chores:
    """In a thread of its own: a keeper has a pool to keep meanwhile."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "audit")
        self._running: Future[None] | None = None
        self._next = 0.0

    def tick(self) -> None:
        if time.monotonic() < self._next or (self._running and not self._running.done()):
            return
        self._next = time.monotonic() + LOOK_EVERY_S
        self._running = self._thread.submit(_run)

    def stop(self) -> None:
        self._thread.shutdown(cancel_futures=True)


def _run() -> None:
    try:
        run_due()
        figures.roll_up()
    except Exception:
        # The outermost frame of its thread: the next tick tries again, whatever it was.
        logger.exception("sealing, purging or counting failed; it is tried again")
    finally:
        connection.close()


def run_due() -> None:
    """Seals if the last seal is an hour old; whoever sealed also purges, for only what is sealed may go."""
    if sealing.seal(older_than=timezone.now() - EVERY) and RetentionPolicy.objects.exists():
        for _ in purging.purge():
            pass
