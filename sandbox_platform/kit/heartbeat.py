"""The files by which Docker's health checks see that a service is at work and has its connection to Postgres.

A check that asks Postgres itself starts an interpreter each time: half a second of CPU for each of three services,
twice a minute, and without a pause while the stack starts.
"""

import contextlib
import time
from pathlib import Path

from django.conf import settings

PERIOD_S = 1.0


class Heartbeat:
    """The file `alive.SERVICE` in SANDBOX_ALIVE_DIR; none if that is not set."""

    def __init__(self, service: str) -> None:
        folder = settings.SANDBOX_ALIVE_DIR
        self._file = Path(folder) / f"alive.{service}" if folder else None
        self._next = 0.0

    def beat(self) -> None:
        """Renew the file's time. The caller has just heard from Postgres, or shall within a second."""
        if self._file and time.monotonic() >= self._next:
            with contextlib.suppress(OSError):  # a full disk must not end what is at work
                self._file.touch()
            self._next = time.monotonic() + PERIOD_S
