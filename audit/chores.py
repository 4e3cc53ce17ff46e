"""What keepers do beside keeping a pool; and sealing and purging, every hour. Each keeper does it: whoever comes
first, the others find it done."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

from django.db import connection
from django.utils import timezone

from audit import purging, sealing
from audit.models import RetentionPolicy
from sandbox_platform.failures import without_text

logger = logging.getLogger(__name__)

EVERY = timedelta(hours=1)
LOOK_EVERY_S = 60.0


class Chores:
    """In a thread of its own: a keeper has a pool to keep meanwhile."""

    def __init__(
        self, work: Callable[[], object], name: str, *, every_s: float = LOOK_EVERY_S, first_s: float = 0.0
    ) -> None:
        self._work = work
        self._name = name
        self._every_s = every_s
        self._thread = ThreadPoolExecutor(1, name)
        self._running: Future[None] | None = None
        self._next = time.monotonic() + first_s

    def tick(self) -> None:
        if time.monotonic() < self._next or (self._running and not self._running.done()):
            return
        self._next = time.monotonic() + self._every_s
        self._running = self._thread.submit(self._run)

    def stop(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _run(self) -> None:
        try:
            self._work()
        except Exception as e:
            # The outermost frame of its thread: the next tick tries again, whatever it was.
            logger.error("%s failed; it is tried again: %s", self._name, without_text(e))
        finally:
            connection.close()


def run_due() -> None:
    """Seals if the last seal is an hour old; whoever sealed also purges, for only what is sealed may go."""
    if sealing.seal(older_than=timezone.now() - EVERY) and RetentionPolicy.objects.exists():
        for _ in purging.purge():
            pass
