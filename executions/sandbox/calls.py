"""Who waits for a warm sandbox, so that a new one wakes one of them and not all.

A worker process that is woken in vain costs as much as one that is served; with eight waiting a run made eleven
claims.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable

# Whoever waits says so again every other second; who has not for this long is dead, or served.
STALE_S = 6.0


class Calls:
    """Of one keeper. A call is a hint: whoever misses it looks by itself after two seconds, and
    what nobody came for is called out again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # the starters call, the keeper's own thread hears
        self._waiting: defaultdict[int, dict[str, float]] = defaultdict(dict)

    def waits(self, runtime_id: int, execution_id: str) -> bool:
        """Whether that is news."""
        with self._lock:
            known = execution_id in self._waiting[runtime_id]
            self._waiting[runtime_id][execution_id] = self._clock()
            return not known

    def served(self, runtime_id: int, execution_id: str) -> None:
        with self._lock:
            self._waiting[runtime_id].pop(execution_id, None)

    def next(self, runtime_id: int) -> str:
        """The execution that was submitted first, and it waits no longer; "" if nobody does."""
        with self._lock:
            since = self._clock() - STALE_S
            alive = {pk: at for pk, at in self._waiting[runtime_id].items() if at >= since}
            first = min(alive, default="")  # UUIDv7: in the order of time
            alive.pop(first, None)
            self._waiting[runtime_id] = alive
            return first


def nobody(_runtime_id: int) -> str:
    return ""
