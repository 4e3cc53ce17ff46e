"""Bytes between a guest and the proxy: counted both ways on all connections, and no more than a run may have."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pytest_django import Settings

from executions.egress.carrying import CHUNK
from executions.egress.gateway import Gateway

EXECUTION = uuid.uuid4()
LIMIT = 4 * CHUNK
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Counting(Gateway):
    """A gateway without a database: ended requests had `before` bytes."""

    def __init__(self, before: int = 0) -> None:
        super().__init__()
        self.before = before

    async def _ask(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return self.before


async def through(gateway: Gateway, settings: Settings, serve: Serve, sent: bytes = b"") -> bytes:
    """What a guest that sends this gets from a proxy that serves so."""
    host = "127.0.0.1"

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()  # the PROXY header
        try:
            await serve(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def door(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gateway._carry(EXECUTION, reader, writer)
        writer.close()

    async with (
        await asyncio.start_server(proxy, host, 0) as outer,
        await asyncio.start_server(door, host, 0) as inner,
    ):
        settings.SANDBOX_EGRESS_PROXY = f"{host}:{outer.sockets[0].getsockname()[1]}"
        reader, writer = await asyncio.open_connection(*inner.sockets[0].getsockname()[:2])
        got = b""
        async with asyncio.timeout(20):
            try:
                writer.write(sent)
                await writer.drain()
                writer.write_eof()
                while data := await reader.read(CHUNK):
                    got += data
            except ConnectionError:
                pass
            writer.close()
        return got


def answering(size: int) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * size)
        await writer.drain()

    return serve


@pytest.fixture
def bounded(settings: Settings) -> Settings:
    settings.SANDBOX_EGRESS_BYTES = LIMIT
    return settings


def test_an_answer_below_the_limit_arrives_whole(bounded: Settings) -> None:
    gateway = Counting()
    assert len(asyncio.run(through(gateway, bounded, answering(LIMIT)))) == LIMIT
    assert not gateway._spent(EXECUTION)


def test_an_answer_beyond_the_limit_is_cut(bounded: Settings) -> None:
    gateway = Counting()
    assert len(asyncio.run(through(gateway, bounded, answering(100 * LIMIT)))) <= LIMIT
    assert gateway._spent(EXECUTION)


def test_what_is_sent_counts_and_is_cut_too(bounded: Settings) -> None:
    arrived = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        while data := await reader.read(CHUNK):
            arrived += len(data)

    gateway = Counting()
    asyncio.run(through(gateway, bounded, serve, b"x" * 100 * LIMIT))
    assert 0 < arrived <= LIMIT
    assert gateway._spent(EXECUTION)


def test_connections_of_a_run_share_the_limit(bounded: Settings) -> None:
    gateway = Counting()
    got = [len(asyncio.run(through(gateway, bounded, answering(LIMIT // 2 + 1)))) for _ in range(2)]
    assert got[0] == LIMIT // 2 + 1
    assert got[1] < LIMIT // 2
    assert gateway._spent(EXECUTION)


def test_once_all_is_spent_a_short_answer_still_tells_why(bounded: Settings) -> None:
    gateway = Counting()
    asyncio.run(through(gateway, bounded, answering(2 * LIMIT)))
    assert len(asyncio.run(through(gateway, bounded, answering(1000)))) == 1000
    assert len(asyncio.run(through(gateway, bounded, answering(LIMIT)))) <= CHUNK


def test_after_a_restart_what_ended_before_counts(bounded: Settings) -> None:
    gateway = Counting(before=LIMIT)
    assert len(asyncio.run(through(gateway, bounded, answering(2 * CHUNK)))) < 2 * CHUNK
    assert gateway._spent(EXECUTION)
