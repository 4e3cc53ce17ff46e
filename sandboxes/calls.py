"""Which waiting runs a keeper wakes when a sandbox is ready, so that a new sandbox wakes one worker and not all.

A worker that wakes up in vain costs as much as one that gets a sandbox. When all were woken, a run made eleven claims
with eight workers waiting.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable

# A waiting worker repeats its notice every two seconds. After this long without one, it is dead or has a sandbox.
STALE_S = 6.0
# A run that is called for a sandbox claims it within this time, or not at all.
CALL_AGAIN_S = 0.1

# Runtime id and network. A run can only use sandboxes of its kind.
SandboxKind = tuple[int, str]


def as_payload(kind: SandboxKind, execution_id: object) -> str:
    """Return the payload of a notification to the keeper."""
    runtime, network = kind
    return f"{runtime}:{network}:{execution_id}"


class Unreadable(ValueError):
    """No part of the platform sends such a notification. Whoever may log in to Postgres can."""


def of_payload(text: str) -> tuple[SandboxKind, str]:
    """Parse a payload into the kind and the execution's id. Raises Unreadable."""
    try:
        runtime, network, execution_id = text.split(":")
        return (int(runtime), network), execution_id
    except ValueError as e:
        raise Unreadable from e


class Calls:
    """The calls of one keeper. They are only hints: a claim decides whose turn it is (see turns.py).

    A worker that misses its call tries to claim after two seconds, and the keeper announces an unclaimed sandbox again.
    `due`: returns the runs of a kind that may claim a sandbox now.
    """

    def __init__(
        self, due: Callable[[SandboxKind], list[str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._due = due
        self._clock = clock
        self._lock = threading.Lock()  # starter threads call next(), the keeper's main thread the others
        # When each run said that it waits, and when it was called. Without any, `due` need not be asked.
        self._waiting: defaultdict[SandboxKind, dict[str, float]] = defaultdict(dict)
        self._called: dict[str, float] = {}

    def waits(self, kind: SandboxKind, execution_id: str) -> bool:
        """Record that the execution waits. Return whether it was unknown."""
        with self._lock:
            known = execution_id in self._waiting[kind]
            self._waiting[kind][execution_id] = self._clock()
            self._called.pop(execution_id, None)
            return not known

    def served(self, kind: SandboxKind, execution_id: str) -> None:
        with self._lock:
            self._waiting[kind].pop(execution_id, None)

    def anyone(self, kind: SandboxKind) -> bool:
        """Return whether a run of this kind may be waiting."""
        with self._lock:
            return self._alive(kind)

    def next(self, kind: SandboxKind) -> list[str]:
        """Return the runs to call now: those whose turn it is and that were not called a moment ago."""
        with self._lock:
            if not self._alive(kind):
                return []
            now = self._clock()
            self._called = {pk: at for pk, at in self._called.items() if at > now - CALL_AGAIN_S}
            called = [pk for pk in self._due(kind) if pk not in self._called]
            self._called |= dict.fromkeys(called, now)
            return called

    def _alive(self, kind: SandboxKind) -> bool:
        since = self._clock() - STALE_S
        self._waiting[kind] = {pk: at for pk, at in self._waiting[kind].items() if at >= since}
        return bool(self._waiting[kind])


def no_call(_kind: SandboxKind) -> list[str]:
    return []
