"""What a gateway for other machines bears from a node that is taken over, does not read, or is gone."""

import asyncio
import socket
from pathlib import Path

import pytest
from pytest_django import Settings

from executions.egress import admission, links
from executions.egress.carrying import CHUNK
from tests.executions.egress import linking
from tests.executions.egress.linking import ANSWER, OTHER_NODE, REQUEST, MakeSandbox, Proxy, accepted

running_sandbox = linking.running_sandbox


@pytest.fixture(autouse=True)
def linked(settings: Settings, tmp_path: Path) -> None:
    linking.set_up(settings, tmp_path)


def test_a_node_leaves_places_to_others(
    settings: Settings, running_sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MAX_LINKS", 6)
    sandbox, _ = running_sandbox()
    of_another, _ = running_sandbox(OTHER_NODE)

    async def scenario() -> list[bool]:
        async with linking.gateway(settings, Proxy(linking.keep)) as world:
            flood = [await accepted(world, door=sandbox) for _ in range(8)]
            return [*flood, await accepted(world, node=OTHER_NODE, door=of_another)]

    assert asyncio.run(scenario()) == [True] * 3 + [False] * 5 + [True]


def test_a_door_has_a_bounded_number_of_connections(
    settings: Settings, running_sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MAX_OPEN_PER_DOOR", 2)
    sandbox, _ = running_sandbox()

    async def scenario() -> list[bool]:
        async with linking.gateway(settings, Proxy(linking.keep)) as world:
            return [await accepted(world, door=sandbox) for _ in range(3)]

    assert asyncio.run(scenario()) == [True, True, False]


def test_a_door_costs_a_bounded_number_of_queries(
    settings: Settings, running_sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MAX_ACCEPTED_PER_DOOR", 2)
    sandbox, _ = running_sandbox()

    async def scenario() -> list[bool]:
        async with linking.gateway(settings, Proxy()) as world:
            return [await accepted(world, door=sandbox) for _ in range(3)]

    assert asyncio.run(scenario()) == [True, True, False]


def test_who_does_not_read_holds_up_the_server_and_no_other_link(
    settings: Settings, running_sandbox: MakeSandbox
) -> None:
    sandbox, _ = running_sandbox()
    given = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal given
        if await reader.read(1) == b"!":
            while True:
                writer.write(bytes(CHUNK))
                await writer.drain()
                given += CHUNK
        writer.write(ANSWER)

    async def scenario() -> bytes:
        settings.SANDBOX_EGRESS_BYTES = 2**40
        async with linking.gateway(settings, Proxy(pour)) as world:
            deaf, _ = await world.link(door=sandbox)
            deaf.writer.transport.pause_reading()
            deaf.outgoing.write(b"!")
            before = -1
            while given != before:  # until every buffer on the way is full
                before = given
                await asyncio.sleep(0.5)
            link, _ = await world.link(door=sandbox)
            link.outgoing.write(REQUEST)
            async with asyncio.timeout(linking.LONG_S):
                return await link.incoming.read(CHUNK)

    assert asyncio.run(scenario()) == ANSWER
    assert given < 64 * 2**20


@pytest.mark.parametrize("frame", [b"\xff\xff\xff\xff", (CHUNK + 1).to_bytes(4)])
def test_a_frame_that_is_too_large_ends_the_link(
    settings: Settings, running_sandbox: MakeSandbox, frame: bytes
) -> None:
    sandbox, _ = running_sandbox()
    proxy = Proxy(linking.keep)

    async def scenario() -> int:
        async with linking.gateway(settings, proxy) as world:
            link, _ = await world.link(door=sandbox)
            link.writer.write(frame + b"x" * 100)
            await linking.until(lambda: proxy.gone)
            return world.gateway._admission._open

    assert asyncio.run(scenario()) <= 1


def test_the_end_of_a_run_ends_its_links_though_the_node_says_nothing(
    settings: Settings, running_sandbox: MakeSandbox
) -> None:
    """As with a node that is cut off: its side of the connection is open for ever."""
    (sandbox, _), (other, _) = running_sandbox(), running_sandbox()
    proxy = Proxy(linking.keep)

    async def scenario() -> tuple[bool, int]:
        async with linking.gateway(settings, proxy) as world:
            link, _ = await world.link(door=sandbox)
            lasting, _ = await world.link(door=other)
            await linking.until(lambda: len(proxy.whose) == 2)
            await world.gateway.sweep()
            await asyncio.sleep(0.1)
            assert proxy.gone == 0
            await linking.release(sandbox)
            await world.gateway.sweep()
            await linking.until(lambda: proxy.gone)
            await linking.until(lambda: world.gateway._admission._open == 1)
            lasting.outgoing.write(b"x")
            return await lasting.incoming.read(4) == b"here", proxy.gone

    assert asyncio.run(scenario()) == (True, 1)


def test_a_link_that_breaks_ends_its_connection_to_the_proxy_at_once(
    settings: Settings, running_sandbox: MakeSandbox
) -> None:
    sandbox, _ = running_sandbox()

    async def deaf_to_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        await asyncio.sleep(2 * linking.LONG_S)

    proxy = Proxy(deaf_to_ends)

    async def scenario() -> None:
        async with linking.gateway(settings, proxy) as world:
            link, _ = await world.link(door=sandbox)
            await linking.until(lambda: proxy.whose)
            link.writer.transport.abort()
            await linking.until(lambda: world.gateway._admission._open == 0)

    asyncio.run(scenario())


def test_a_machine_that_is_gone_is_noticed_by_the_kernel() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as sock,
    ):
        links.keep_alive(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, every, count = (
            sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in links.KEEPALIVE
        )
        assert idle + every * count <= 30
