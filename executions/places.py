"""Counts the requests of a web process that occupy a thread while an execution runs, by client.

A process has SANDBOX_WEB_THREADS threads. Event streams may have three eighths of them, and requests that wait for an
execution a half. The others are free for requests that are answered at once; a sixteenth of all may wait for a place.
"""

import math
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection
from django.http import HttpResponseBase
from rest_framework.request import Request

from clients.models import Client
from sandbox_platform.kit.errors import TooMany

THREADS = settings.SANDBOX_WEB_THREADS
RETRY_AFTER_S = 1
# How often a request that waits for a place looks whether it still should.
LOOK_S = 1.0


class Places:
    """`most` places, of which a client may hold `share` times as many as are free.

    So one alone can take share / (share + 1) of them, several that ask for all they can get have nearly equal parts,
    and a client that needs few finds some beside as many as most / share of those. Nobody takes all.
    """

    def __init__(self, most: int, share: int) -> None:
        self._most, self._share = max(most, 1), share
        self._most_of_one = max(self._most - 1, 1)
        self._changed = threading.Condition()
        self._held: Counter[int | None] = Counter()

    def take(self, client_id: int | None, count: int = 1) -> bool:
        """Take a place, or several for one request, or none. One request never needs all."""
        with self._changed:
            return self._take(client_id, count)

    def take_soon(self, client_id: int | None, gave_up: Callable[[], bool], count: int = 1) -> bool:
        """Take the places as soon as the client may have them. Return False if it gave up before."""
        with self._changed:
            while not self._take(client_id, count):
                self._changed.wait(LOOK_S)
                if gave_up():
                    return False
            return True

    def _take(self, client_id: int | None, count: int) -> bool:
        count = min(count, self._most_of_one)
        free = self._most - self._held.total()
        is_free = count <= free and self._held[client_id] + count <= min(self._share * free, self._most_of_one)
        self._held[client_id] += count * is_free
        return is_free

    def give_back(self, client_id: int | None, count: int = 1) -> None:
        with self._changed:
            self._held[client_id] -= min(count, self._most_of_one)
            if not self._held[client_id]:
                del self._held[client_id]
            self._changed.notify_all()

    @contextmanager
    def held(self, client_id: int | None) -> Iterator[bool]:
        """Yield whether a place was free. A place that was taken is given back at the end."""
        taken = self.take(client_id)
        try:
            yield taken
        finally:
            if taken:
                self.give_back(client_id)


streams = Places(THREADS * 3 // 8, share=1)
# One client may send a burst of 50 to one process.
waits = Places(THREADS // 2, share=7)
# Requests that wait for a place of `waits`, each with a thread. As many requests of one caller compute at a
# time (kit/web/turns.py). They keep their turn, so that the caller's others wait in the event loop, without threads.
queued = Places(THREADS // 16, share=1)


@contextmanager
def soon_held(client_id: int | None, gave_up: Callable[[], bool]) -> Iterator[bool]:
    """Yield whether a place of `waits` was free, or became so before the caller gave up."""
    taken = waits.take(client_id)
    if not taken:
        connection.close()  # return it to the pool
        with queued.held(client_id) as may_queue:
            taken = may_queue and waits.take_soon(client_id, gave_up)
    try:
        yield taken
    finally:
        if taken:
            waits.give_back(client_id)


# A page of SANDBOX_MAX_PAGE takes some 150 MB until it is sent, and all processes share the memory of one service. An
# answer that is larger needs more places.
LARGE_PAGE_BYTES = 1 << 20
pages = Places(6, share=2)


class TooManyLargePages(TooMany):
    def __init__(self) -> None:
        super().__init__(
            "Too many large pages or exports are being read.",
            remedy="Retry after Retry-After seconds, or ask for fewer fields, or with a smaller limit.",
            code="too_many_large_pages",
            retry_after_s=RETRY_AFTER_S,
        )


class PageOf:
    """The place of a client's large page, export or answer, from before it is read until its response is closed."""

    def __init__(self, client_id: int | None) -> None:
        self._client_id = client_id
        self._taken = False

    def reading(self, size: int, gave_up: Callable[[], bool] | None = None) -> None:
        """Take a place if the page has so many bytes. Raises TooManyLargePages.

        `gave_up`: of a caller whose run has ended. It waits for a place until then, however many others do, because a
        refusal would lose the run: its thread must be one of `waits` still.
        """
        if size >= LARGE_PAGE_BYTES:
            self.take(gave_up, math.ceil(size / settings.SANDBOX_MAX_PAGE_BYTES))

    def take(self, gave_up: Callable[[], bool] | None = None, count: int = 1) -> None:
        taken = pages.take(self._client_id, count)
        if not taken and gave_up:
            connection.close()  # return it to the pool
            taken = pages.take_soon(self._client_id, gave_up, count)
        if not taken:
            raise TooManyLargePages
        self._taken = True
        # Also when no response comes of it.
        self._give_back = weakref.finalize(self, pages.give_back, self._client_id, count)

    def keep_until_closed(self, response: HttpResponseBase) -> None:
        if not self._taken:
            return
        close = response.close

        def closing() -> None:
            self._give_back()
            close()

        response.close = closing  # type: ignore[method-assign]


class TooManyWaiting(TooMany):
    def __init__(self) -> None:
        super().__init__(
            "Too many requests wait for an execution.",
            remedy="Retry after Retry-After seconds, or use /api/v1, which need not wait.",
            code="too_many_waiting",
            retry_after_s=RETRY_AFTER_S,
        )


def client_id_of(request: Request) -> int | None:
    """Return the id that the caller's places are counted by; None for a caller without a token."""
    caller: object = request.user
    return caller.pk if isinstance(caller, Client) else None
