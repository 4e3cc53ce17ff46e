"""Which requests may compute at the same time: a few of each caller, the others in their order behind them.

Threads that compute share one lock of Python. With as many as there are threads, the request of another caller would
wait for each of them again and again.
"""

from collections import Counter, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Request = TypeVar("Request", bound=Hashable)


class Turns(Generic[Request]):
    """Not for several threads: the event loop's alone."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._callers: dict[Request, Hashable] = {}  # of the requests that have their turn
        self._having: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, deque[Request]] = {}

    def take(self, request: Request, caller: Hashable) -> bool:
        """Return whether the request has its turn at once. If not, `end` of another one returns it."""
        if self._having[caller] < self._at_once:
            self._begin(request, caller)
            return True
        self._waiting.setdefault(caller, deque()).append(request)
        return False

    def waiting(self, caller: Hashable) -> int:
        return len(self._waiting.get(caller, ()))

    def end(self, request: Request) -> Request | None:
        """End the request's turn, if it has one, and return the request whose turn has come instead."""
        if request not in self._callers:
            return None
        caller = self._callers.pop(request)
        self._having[caller] -= 1
        if not self._having[caller]:
            del self._having[caller]
        if caller not in self._waiting:
            return None
        following = self._waiting[caller].popleft()
        if not self._waiting[caller]:
            del self._waiting[caller]
        self._begin(following, caller)
        return following

    def _begin(self, request: Request, caller: Hashable) -> None:
        self._callers[request] = caller
        self._having[caller] += 1
