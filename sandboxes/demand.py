"""How many sandboxes of a kind were claimed lately."""

import time
from collections import Counter, deque
from collections.abc import Callable

from sandboxes.calls import SandboxKind

# Demand is the number of claims in the busiest slot of the window, about what one refill has to replace.
DEMAND_SLOT_S = 2
DEMAND_WINDOW_S = 60


class Demand:
    """Counts recent claims of sandboxes, by kind."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._claims: deque[tuple[float, SandboxKind]] = deque()

    def claimed(self, kind: SandboxKind) -> None:
        self._claims.append((self._clock(), kind))

    def peak(self, kind: SandboxKind) -> int:
        since = self._clock() - DEMAND_WINDOW_S
        while self._claims and self._claims[0][0] < since:
            self._claims.popleft()
        slots = Counter(int(at // DEMAND_SLOT_S) for at, claimed in self._claims if claimed == kind)
        return max(slots.values(), default=0)
