"""Lets a request that waits for long tell the web server so: it needs neither its body nor a turn meanwhile."""

import threading
from collections.abc import Callable


class _Thread(threading.local):
    begun: Callable[[], None] | None = None


_thread = _Thread()


def when_begun(call: Callable[[], None] | None) -> None:
    """Call this when the request of the present thread calls `begun`."""
    _thread.begun = call


def begun() -> None:
    """From now on the request of the present thread only waits, and holds nothing of its body any more."""
    if _thread.begun is not None:
        _thread.begun()
