"""A parser of Server-Sent Events that does no input and output: bytes in, events out."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """One event of the stream, its data not yet interpreted."""

    id: str
    event: str
    data: str


class Parser:
    """Follows https://html.spec.whatwg.org/multipage/server-sent-events.html; pieces may end anywhere."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""
        self._id = ""
        self._event = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[Message]:
        """Yield the events that this piece completes."""
        self._rest += self._decoder.decode(piece)
        # A \r at the end may be the first half of \r\n.
        held = "\r" if self._rest.endswith("\r") else ""
        lines = self._rest.removesuffix(held).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._rest = lines.pop() + held
        for line in lines:
            if message := self._line(line):
                yield message

    def _line(self, line: str) -> Message | None:
        if not line:
            return self._dispatched()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        return None

    def _dispatched(self) -> Message | None:
        event, data = self._event, self._data
        self._event, self._data = "", []
        return Message(self._id, event or "message", "\n".join(data)) if data else None
