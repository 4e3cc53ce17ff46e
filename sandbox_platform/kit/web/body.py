"""Lets a request that waits for long tell the web server that it has freed its body."""

import threading
from collections.abc import Callable


class _Thread(threading.local):
    freed: Callable[[], None] | None = None


_thread = _Thread()


def when_freed(call: Callable[[], None] | None) -> None:
    """Call this when the request of the present thread calls `freed`."""
    _thread.freed = call


def freed() -> None:
    """The request of the present thread holds nothing of its body any more."""
    if _thread.freed is not None:
        _thread.freed()
