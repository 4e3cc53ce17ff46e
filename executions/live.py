"""Live output: what a running program writes, put where watchers find it.

Written whether or not somebody watches: a watcher who comes late, or comes back, then needs nothing but the rows,
and the worker need not know of watchers. What that costs is bounded: nothing for a run that ends at once, then one
INSERT a tick, by a thread of its own, for a Postgres that hangs must not hold up the session, which enforces the
limits. If one fails, the next takes its output along; the end of the run has all of it anyway.
"""

import codecs
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import Error, connection

from sandbox_platform.kit.failures import without_text
from sandbox_platform.kit.notify import PROGRESS
from sandboxes.session import Report

logger = logging.getLogger(__name__)

CHUNK_CHARACTERS = 32 * 1024
PUT = """
    WITH put AS (
        INSERT INTO executions_outputchunk (execution_id, stream, start, "end", text, created_at)
        SELECT %s, stream, start, "end", text, now()
        FROM unnest(%s::text[], %s::integer[], %s::integer[], %s::text[]) AS piece (stream, start, "end", text)
        RETURNING id
    )
    SELECT pg_notify(%s, %s) WHERE EXISTS (SELECT FROM put)
"""


class Text:
    """One stream's bytes as the row will hold them: see services.db_text."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._taken = 0
        self.waiting = ""
        self.start = 0  # of `waiting`, in characters

    def take(self, output: bytearray, limit: int) -> None:
        new = bytes(output[self._taken : limit])
        self._taken += len(new)
        self.waiting += self._decoder.decode(new).replace("\0", "\ufffd")

    def written(self) -> None:
        self.start += len(self.waiting)
        self.waiting = ""

    def pieces(self) -> Iterator[tuple[int, int, str]]:
        for at in range(0, len(self.waiting), CHUNK_CHARACTERS):
            text = self.waiting[at : at + CHUNK_CHARACTERS]
            yield self.start + at, self.start + at + len(text), text


class Feed:
    """One run's output on its way."""

    def __init__(self, execution_id: UUID, limit: int) -> None:
        self._execution_id = execution_id
        self._limit = limit
        self._texts = {"stdout": Text(), "stderr": Text()}
        self.report: Report | None = None
        self.pending = threading.Event()  # it is in the writer's queue
        self.over = False

    def write(self) -> None:
        report = self.report
        if report is None or self.over:
            return
        self._texts["stdout"].take(report.stdout, self._limit)
        self._texts["stderr"].take(report.stderr, self._limit)
        rows = [(name, *piece) for name, text in self._texts.items() for piece in text.pieces()]
        if not rows:
            return
        columns = [list(column) for column in zip(*rows, strict=True)]
        with connection.cursor() as cursor:
            cursor.execute(PUT, [self._execution_id, *columns, PROGRESS, str(self._execution_id)])
        for text in self._texts.values():
            text.written()


class Writer:
    """The thread that writes, of one process, on a connection of its own."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Feed | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="live-output", daemon=True)
        self._thread.start()

    def offer(self, feed: Feed) -> None:
        """At most once in the queue: however long Postgres hangs, nothing piles up."""
        if not feed.pending.is_set():
            feed.pending.set()
            self._queue.put(feed)

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (feed := self._queue.get()) is not None:
            feed.pending.clear()
            try:
                feed.write()
            except Error as e:
                # Five times a second: others say it aloud.
                logger.debug("live output: Postgres is away (%s)", type(e).__name__)
                connection.close()
            except Exception as e:
                # The thread's outermost frame: without it no run of this process would be seen any more.
                logger.error("live output: %s", without_text(e))
        connection.close()


_writers: dict[int, Writer] = {}


def writer() -> Writer:
    """This process's; a fork has no threads, so each makes its own. Called by the process's one task at a time."""
    pid = os.getpid()
    if pid not in _writers:
        _writers.clear()
        _writers[pid] = Writer()
    return _writers[pid]


@contextmanager
def output(execution_id: UUID, limit: int) -> Iterator[Callable[[Report], None]]:
    """What a Session calls to have its output seen. `limit`: bytes of each stream."""
    feed = Feed(execution_id, limit)

    def watch(report: Report) -> None:
        feed.report = report
        writer().offer(feed)

    try:
        yield watch
    finally:
        feed.over = True
