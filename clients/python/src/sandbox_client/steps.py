"""The steps that flows.py yields and a client performs, and how flows of them are joined."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx

T = TypeVar("T")
Emitted = TypeVar("Emitted", covariant=True)


@dataclass(frozen=True)
class Send:
    """Send the request, and return the answer with its body."""

    request: httpx.Request


@dataclass(frozen=True)
class Open:
    """Send the request, and return the answer before its body, unless it is an error."""

    request: httpx.Request


@dataclass(frozen=True)
class Read:
    """Return the next bytes of the opened answer; None at its end."""


@dataclass(frozen=True)
class Pause:
    seconds: float


@dataclass(frozen=True)
class Emit(Generic[Emitted]):
    """Hand this to the caller."""

    value: Emitted


Step = Send | Open | Read | Pause
Flow = Generator[Step, Any, T]
Stream = Generator[Step | Emit[T], Any, None]


def emitting(flow: Flow[T]) -> Stream[T]:
    """Turn a flow into a stream of its only result."""
    yield Emit((yield from flow))


def collected(stream: Stream[T]) -> Flow[list[T]]:
    """Turn a stream into a flow that returns all of it."""
    found: list[T] = []
    answer: Any = None
    error: Exception | None = None
    while True:
        try:
            step = stream.throw(error) if error else stream.send(answer)
        except StopIteration:
            return found
        answer = error = None
        if isinstance(step, Emit):
            found.append(step.value)
            continue
        try:
            answer = yield step
        except httpx.RequestError as e:
            error = e
