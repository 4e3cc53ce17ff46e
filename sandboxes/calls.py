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

# Runtime id and network: sandboxes of different kinds serve different runs.
SandboxKind = tuple[int, str]


def as_payload(kind: SandboxKind, execution_id: object) -> str:
    """As the keeper is told it in a notification."""
    runtime, network = kind
    return f"{runtime}:{network}:{execution_id}"


def of_payload(text: str) -> tuple[SandboxKind, str]:
    runtime, network, execution_id = text.split(":")
    return (int(runtime), network), execution_id


class Calls:
    """Of one keeper. A call is a hint: whoever misses it looks by itself after two seconds, and what nobody came
    for is called out again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # the starters call, the keeper's own thread hears
        self._waiting: defaultdict[SandboxKind, dict[str, float]] = defaultdict(dict)

    def waits(self, kind: SandboxKind, execution_id: str) -> bool:
        """Whether that is news."""
        with self._lock:
            known = execution_id in self._waiting[kind]
            self._waiting[kind][execution_id] = self._clock()
            return not known

    def served(self, kind: SandboxKind, execution_id: str) -> None:
        with self._lock:
            self._waiting[kind].pop(execution_id, None)

    def next(self, kind: SandboxKind) -> str:
        """The execution that was submitted first, and it waits no longer; "" if nobody does."""
        with self._lock:
            since = self._clock() - STALE_S
            alive = {pk: at for pk, at in self._waiting[kind].items() if at >= since}
            first = min(alive, default="")  # UUIDv7: in the order of time
            alive.pop(first, None)
            self._waiting[kind] = alive
            return first


def nobody(_kind: SandboxKind) -> str:
    return ""
