"""Carries bytes between a guest and the proxy, as many as the execution may have."""

import asyncio
import contextlib
from typing import Protocol

from django.conf import settings

CHUNK = 65536
HANG_UP_S = 1


class Reader(Protocol):
    """Of asyncio.StreamReader, what carrying needs."""

    async def read(self, n: int, /) -> bytes:
        """Return up to n bytes, b"" at the other side's end. Raises OSError."""


class Writer(Protocol):
    """Of asyncio.StreamWriter, what carrying needs."""

    def write(self, data: bytes, /) -> None: ...
    async def drain(self) -> None: ...
    def write_eof(self) -> None: ...


Way = tuple[Reader, Writer]


class Spending:
    """The bytes of one execution, both ways, on all its connections."""

    def __init__(self, number: int) -> None:
        self.bytes = number

    @property
    def over(self) -> bool:
        return self.bytes > settings.SANDBOX_EGRESS_BYTES


class Unlimited(Spending):
    """Of a node whose gateway is elsewhere and counts there."""

    @property
    def over(self) -> bool:
        return False


async def carry(forth: Way, back: Way, spending: Spending) -> None:
    """Carry both ways until the proxy's end, or until the execution has spent its bytes or its side is lost.

    A guest that closes only its sending side still gets the answer.
    """
    sending = asyncio.ensure_future(pump(*forth, spending))
    receiving = asyncio.ensure_future(pump(*back, spending))
    try:
        await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
        if not spending.over and not _has_failed(sending):
            await asyncio.wait({receiving})
    finally:
        sending.cancel()
        receiving.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)


def _has_failed(sending: "asyncio.Future[bool]") -> bool:
    """Return whether the guest's side is lost: nobody waits for the answer."""
    return sending.done() and (sending.exception() is not None or not sending.result())


async def hang_up(reader: Reader, writer: Writer, patience_s: float = HANG_UP_S) -> None:
    """Let the guest read the answer first: closing a socket that holds unread data would reset the connection."""
    with contextlib.suppress(OSError, TimeoutError):
        writer.write_eof()
        async with asyncio.timeout(patience_s):
            while await reader.read(CHUNK):
                pass


async def pump(reader: Reader, writer: Writer, spending: Spending) -> bool:
    """Pass on what comes until its end, or until the execution has spent its bytes.

    Returns False if the side that it reads is lost. If the other side is, what that one still says may arrive.
    """
    while True:
        try:
            data = await reader.read(CHUNK)
        except ConnectionError:
            return False
        spending.bytes += len(data)
        if spending.over:
            return True
        try:
            if not data:
                writer.write_eof()
                return True
            writer.write(data)
            await writer.drain()
        except ConnectionError:
            return True
