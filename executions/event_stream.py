"""The Server-Sent Events of one execution. docs/events.md describes them for clients."""

import json
import os
import re
import select
import socket
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection
from django.db.models import Q

from executions.models import Execution, OutputChunk, Status
from executions.waiting import RECONNECT_S, hub
from redaction import services as redaction
from sandbox_platform.kit.notify import FINISHED, PROGRESS, WATCHED, notify

# A notification may be lost with its connection, so a stream also polls.
LOOK_AGAIN_S = 5.0
KEEP_ALIVE_S = 15.0
RETRY_MS = 2000
Row = TypeVar("Row")
STREAMS = ("stdout", "stderr")
EVENTS = ("status", *STREAMS, "end")
CHUNKS_AT_ONCE = 32
EVENT_CHARACTERS = 32 * 1024
FACTS = (
    "client_id",
    "status",
    "outcome",
    "message",
    "exit_code",
    "signal",
    "queued_at",
    "claimed_at",
    "finished_at",
)


class Phase(StrEnum):
    """The last status event that was sent."""

    NONE = "none"
    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"
    CLOSED = "closed"


ID = re.compile(r"([0-9]{1,12})\.([0-9]{1,12})\.(none|queued|running|ended|closed)")


@dataclass(frozen=True)
class Position:
    """A watcher's position: characters sent of each stream, and the phase. Its text form is the id of an event."""

    stdout: int = 0
    stderr: int = 0
    phase: Phase = Phase.NONE

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Parse an event's id. Raises ValueError for text that is none."""
        match = ID.fullmatch(text)
        if not match:
            raise ValueError("not an event's id")
        return cls(int(match[1]), int(match[2]), Phase(match[3]))

    def __str__(self) -> str:
        return f"{self.stdout}.{self.stderr}.{self.phase}"

    def of(self, stream: str) -> int:
        return self.stdout if stream == "stdout" else self.stderr

    def moved(self, stream: str, to: int) -> "Position":
        return replace(self, stdout=to) if stream == "stdout" else replace(self, stderr=to)


def read(rows: Iterable[Row]) -> list[Row]:
    """Return all rows and release the database connection: a slow watcher must not hold one of the pool's."""
    result = list(rows)
    connection.close()
    return result


class Events:
    """Iterates over the events of one execution after a position. Holds no database connection while it waits.

    `caller` is the client's socket, watched for a disconnect.
    """

    def __init__(self, execution_id: UUID, position: Position, caller: socket.socket | None = None) -> None:
        self._id = execution_id
        self._at = position
        self._caller = caller
        self._announced_at: float | None = None

    def __iter__(self) -> Generator[bytes, None, None]:
        connection.close()  # the request's connection
        yield f"retry: {RETRY_MS}\n\n".encode()
        with hub.event([self._id], FINISHED, PROGRESS) as news:
            pause = 0.0
            spoke = time.monotonic()
            while self._wait(news, pause):
                pause = LOOK_AGAIN_S
                try:
                    for event in self._new():
                        yield event
                        spoke = time.monotonic()
                except (OperationalError, InterfaceError):
                    # Postgres restarts. Nothing is lost: the position moves only with events that were sent.
                    connection.close()
                    pause = RECONNECT_S
                if self._at.phase == Phase.CLOSED:
                    return
                if time.monotonic() - spoke >= KEEP_ALIVE_S:
                    yield b": still here\n\n"
                    spoke = time.monotonic()

    def _wait(self, news: int, seconds: float) -> bool:
        """Block until there may be news or the time is over; return False if the caller has disconnected."""
        poll = select.poll()
        poll.register(news, select.POLLIN)
        if self._caller is not None:
            poll.register(self._caller, select.POLLRDHUP)
        ready = dict(poll.poll(seconds * 1000))
        if news in ready:
            ready.pop(news)
            os.eventfd_read(news)
        return not ready

    def _new(self) -> Iterator[bytes]:
        facts = self._row(*FACTS)
        ended = facts["finished_at"] is not None
        yield from self._beginning(facts)
        if ended:
            yield from self._stored_output()
        elif not self._is_redacted(facts["client_id"]):
            yield from self._live_output()
        if ended:
            yield from self._ending(facts)
        elif self._at.phase == Phase.RUNNING:
            self._announce()

    @staticmethod
    def _is_redacted(client_id: int | None) -> bool:
        """Return whether to hold output back: a secret may be split between pieces, or come before the policy."""
        applies = redaction.applies_to(client_id)
        connection.close()
        return applies

    def _announce(self) -> None:
        """Tell the worker that somebody watches: programs buffer their output. Again now and then: it may be lost."""
        now = time.monotonic()
        if self._announced_at is None or now - self._announced_at >= LOOK_AGAIN_S:
            self._announced_at = now
            notify(WATCHED, str(self._id))
            connection.close()

    def _row(self, *fields: str) -> dict[str, Any]:
        # The row exists: retention keeps an execution for longer than any stream of it lasts.
        rows: Iterable[dict[str, Any]] = Execution.objects.filter(pk=self._id).values(*fields)
        return read(rows)[0]

    # Each event first moves the position, because its id is the position after it.

    def _beginning(self, facts: dict[str, Any]) -> Iterator[bytes]:
        if self._at.phase == Phase.NONE and facts["status"] != Status.REJECTED:
            yield self._status(Phase.QUEUED, {"status": Status.QUEUED, "at": facts["queued_at"]})
        if self._at.phase == Phase.QUEUED and facts["claimed_at"] is not None:
            yield self._status(Phase.RUNNING, {"status": Status.RUNNING, "at": facts["claimed_at"]})

    def _ending(self, facts: dict[str, Any]) -> Iterator[bytes]:
        if self._at.phase != Phase.ENDED:
            data = {name: facts[name] for name in ("status", "outcome", "message", "exit_code", "signal")}
            yield self._status(Phase.ENDED, data | {"at": facts["finished_at"]})
        self._at = replace(self._at, phase=Phase.CLOSED)
        yield self._event("end", {"id": str(self._id)})

    def _status(self, phase: Phase, data: dict[str, Any]) -> bytes:
        self._at = replace(self._at, phase=phase)
        return self._event("status", data | {"at": data["at"].isoformat()})

    def _live_output(self) -> Iterator[bytes]:
        while True:
            unseen = Q(pk__in=[])
            for stream in STREAMS:
                unseen |= Q(stream=stream, end__gt=self._at.of(stream))
            chunks = read(OutputChunk.objects.filter(unseen, execution_id=self._id)[:CHUNKS_AT_ONCE])
            for chunk in chunks:
                at = self._at.of(chunk.stream)
                if chunk.start > at:
                    return  # a chunk was lost in a restart of Postgres; the row will hold all output
                if chunk.end > at:
                    yield self._output(chunk.stream, chunk.text[at - chunk.start :])
            if len(chunks) < CHUNKS_AT_ONCE:
                return

    def _stored_output(self) -> Iterator[bytes]:
        if self._at.phase in (Phase.ENDED, Phase.CLOSED):
            return
        texts = self._row(*STREAMS)
        for stream in STREAMS:
            text = texts[stream][self._at.of(stream) :]
            for begin in range(0, len(text), EVENT_CHARACTERS):
                yield self._output(stream, text[begin : begin + EVENT_CHARACTERS])

    def _output(self, stream: str, text: str) -> bytes:
        self._at = self._at.moved(stream, self._at.of(stream) + len(text))
        return self._event(stream, self._output_data(stream, text))

    def _output_data(self, stream: str, text: str) -> dict[str, Any]:
        return {"text": text}

    def _event(self, name: str, data: dict[str, Any]) -> bytes:
        # JSON escapes line breaks, so the data is one line.
        return f"id: {self._at}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()
