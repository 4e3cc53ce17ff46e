"""Carries bytes between a guest and the proxy, as many as the execution may have."""

import asyncio
import contextlib

from django.conf import settings

CHUNK = 65536
HANG_UP_S = 1
Way = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Spending:
    """The bytes of one execution, both ways, on all its connections."""

    def __init__(self, number: int) -> None:
        self.bytes = number

    @property
    def over(self) -> bool:
        return self.bytes > settings.SANDBOX_EGRESS_BYTES


async def carry(forth: Way, back: Way, spending: Spending) -> None:
    """Carry both ways until the proxy's end, or until the execution has spent its bytes.

    A guest that closes only its sending side still gets the answer.
    """
    sending = asyncio.ensure_future(pump(*forth, spending))
    receiving = asyncio.ensure_future(pump(*back, spending))
    try:
        await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
        if not spending.over:
            await asyncio.wait({receiving})
    finally:
        sending.cancel()
        receiving.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Let the guest read the answer first: closing a socket that holds unread data would reset the connection."""
    with contextlib.suppress(OSError, TimeoutError):
        writer.write_eof()
        async with asyncio.timeout(HANG_UP_S):
            while await reader.read(CHUNK):
                pass


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, spending: Spending) -> None:
    """Pass on what comes until its end, or until the execution has spent its bytes."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            spending.bytes += len(data)
            if spending.over:
                return
            writer.write(data)
            await writer.drain()
        writer.write_eof()
