"""The executions that wait for a warm sandbox, so that a new sandbox wakes one worker and not all.

A worker that wakes up in vain costs as much as one that gets a sandbox. When all were woken, a run made eleven claims
with eight workers waiting.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable

# A waiting worker repeats its notice every two seconds. After this long without one, it is dead or has a sandbox.
STALE_S = 6.0

# Runtime id and network. A run can only use sandboxes of its kind.
SandboxKind = tuple[int, str]


def as_payload(kind: SandboxKind, execution_id: object) -> str:
    """Return the payload of a notification to the keeper."""
    runtime, network = kind
    return f"{runtime}:{network}:{execution_id}"


def of_payload(text: str) -> tuple[SandboxKind, str]:
    """Parse a payload into the kind and the execution's id."""
    runtime, network, execution_id = text.split(":")
    return (int(runtime), network), execution_id


class Calls:
    """The waiting executions of one keeper, and which of them to call next.

    A call is only a hint: a worker that misses it tries to claim after two seconds, and the keeper announces an
    unclaimed sandbox again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # starter threads call next(), the keeper's main thread the others
        self._waiting: defaultdict[SandboxKind, dict[str, float]] = defaultdict(dict)

    def waits(self, kind: SandboxKind, execution_id: str) -> bool:
        """Record that the execution waits. Return whether it was unknown."""
        with self._lock:
            known = execution_id in self._waiting[kind]
            self._waiting[kind][execution_id] = self._clock()
            return not known

    def served(self, kind: SandboxKind, execution_id: str) -> None:
        with self._lock:
            self._waiting[kind].pop(execution_id, None)

    def next(self, kind: SandboxKind) -> str:
        """Remove the execution that was submitted first from the waiting ones and return it, or "" if none waits."""
        with self._lock:
            since = self._clock() - STALE_S
            alive = {pk: at for pk, at in self._waiting[kind].items() if at >= since}
            first = min(alive, default="")  # UUIDv7 sorts by time
            alive.pop(first, None)
            self._waiting[kind] = alive
            return first


def no_call(_kind: SandboxKind) -> str:
    return ""
