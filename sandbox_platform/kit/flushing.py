"""A thread of a web process that writes every few seconds what the process has counted in memory."""

import logging
import threading
from collections.abc import Callable

from django.db import DatabaseError, InterfaceError, connection

from sandbox_platform.kit.failures import without_text

logger = logging.getLogger(__name__)


class Flusher:
    """`flush` writes the counts, and keeps them for the next call if it raises."""

    def __init__(self, what: str, flush: Callable[[], object], every_s: float) -> None:
        self._what, self._write, self._every_s = what, flush, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=what, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, and end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(self._every_s)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        try:
            self._write()
        except (DatabaseError, InterfaceError) as e:  # Postgres is away: the next round writes them
            logger.warning("%s are not written yet: %s", self._what, without_text(e))
        finally:
            connection.close()
