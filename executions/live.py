"""Writes the output of running programs into rows that watchers read.

Output is written whether or not anybody watches, so that a watcher who comes late or reconnects needs only the rows.
Watchers announce themselves only because programs buffer what they write: then the runner asks for it.

The cost is bounded: nothing for a short run, then one INSERT per tick. A separate thread writes, because a hanging
Postgres must not delay the session, which enforces the limits. If an INSERT fails, the next one includes its output.
The end of the run stores all output in any case.
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
from sandbox_platform.kit.notify import PROGRESS, WATCHED
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
    """One stream's bytes, decoded as the row will hold them: see services.db_text."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._taken = 0
        self.waiting = ""
        self.start = 0  # position of `waiting` in the stream, in characters

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
    """The output of one run that is yet to be written."""

    def __init__(self, execution_id: UUID, limit: int) -> None:
        self.execution_id = execution_id
        self._limit = limit
        self._texts = {"stdout": Text(), "stderr": Text()}
        self.report: Report | None = None
        self.pending = threading.Event()  # set while the feed is in the writer's queue
        self.watched = False
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
            cursor.execute(PUT, [self.execution_id, *columns, PROGRESS, str(self.execution_id)])
        for text in self._texts.values():
            text.written()


class Writer:
    """The process's writing thread, with its own database connection."""

    def __init__(self) -> None:
        self._listening: object = None  # the connection that listens to WATCHED
        self._queue: queue.SimpleQueue[Feed | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="live-output", daemon=True)
        self._thread.start()

    def offer(self, feed: Feed) -> None:
        """Queue the feed unless it is queued already, so that the queue stays short while Postgres hangs."""
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
                self._look_for_watchers(feed)
            except Error as e:
                # Debug level, because this would repeat five times a second; other code logs the outage.
                logger.debug("live output: Postgres is unavailable (%s)", type(e).__name__)
                connection.close()
            except Exception as e:
                # The thread's outermost frame: an error here would end live output for all runs of this process.
                logger.error("live output: %s", without_text(e))
        connection.close()

    def _look_for_watchers(self, feed: Feed) -> None:
        if self._listening is not connection.connection or connection.connection is None:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {WATCHED}")
            self._listening = connection.connection
        for notification in connection.connection.notifies(timeout=0):
            # A process runs one task at a time, so any other execution is another process's.
            feed.watched |= notification.payload == str(feed.execution_id)


_writers: dict[int, Writer] = {}


def writer() -> Writer:
    """Return this process's writer.

    A fork inherits no threads, so each process makes its own writer. No lock is needed: a process runs one task at a
    time.
    """
    pid = os.getpid()
    if pid not in _writers:
        _writers.clear()
        _writers[pid] = Writer()
    return _writers[pid]


@contextmanager
def output(execution_id: UUID, limit: int) -> Iterator[Callable[[Report], bool]]:
    """Yield the `watch` callback for a Session, which publishes its output up to `limit` bytes per stream.

    The callback returns whether somebody watches.
    """
    feed = Feed(execution_id, limit)

    def watch(report: Report) -> bool:
        feed.report = report
        writer().offer(feed)
        return feed.watched

    try:
        yield watch
    finally:
        feed.over = True
