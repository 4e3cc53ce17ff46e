"""What a gateway for other machines lets them do: those without a key nothing, a node no more than is its own."""

import asyncio
import contextlib
import logging
import socket
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from executions.egress import links, nodes
from executions.egress.carrying import CHUNK
from executions.egress.gateway import Gateway
from executions.egress.nodes import Nodes
from tests.executions.egress import linking
from tests.executions.egress.linking import (
    ANSWER,
    NODE,
    OTHER_NODE,
    OTHER_SECRET,
    REQUEST,
    SECRET,
    MakeSandbox,
    Proxy,
    World,
)  # fmt: skip

running_sandbox = linking.running_sandbox


@pytest.fixture(autouse=True)
def linked(settings: Settings, tmp_path: Path) -> None:
    linking.set_up(settings, tmp_path)


async def refusal(world: World, **said: Any) -> dict[str, Any]:
    """The gateway's answer to a link that says this, after which it closes it."""
    link, answered = await world.link(**said)
    async with asyncio.timeout(linking.LONG_S):
        assert await link.reader.read() == b""
    link.close()
    return answered


def test_a_node_s_link_carries_its_sandbox_s_request(settings: Settings, running_sandbox: MakeSandbox) -> None:
    sandbox, _ = running_sandbox()

    async def scenario() -> bytes:
        async with linking.gateway(settings, Proxy()) as world:
            link, answered = await world.link(door=sandbox)
            assert answered == {"accepted": True}
            link.outgoing.write(REQUEST)
            got = await link.incoming.read(CHUNK)
            assert await link.incoming.read(CHUNK) == b""
            return got

    assert asyncio.run(scenario()) == ANSWER


def test_an_answer_arrives_though_more_is_sent_meanwhile(
    settings: Settings, running_sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a connection with unread data would be a reset, and the answer would be lost."""
    monkeypatch.setattr(nodes, "CLOSING_S", linking.LONG_S)
    sandbox, _ = running_sandbox()
    proxy = Proxy()

    async def scenario() -> list[bytes]:
        async with linking.gateway(settings, proxy) as world:
            link, _ = await world.link(door=sandbox)
            link.writer.transport.pause_reading()
            link.outgoing.write(REQUEST)
            await linking.until(lambda: proxy.gone)
            for _ in range(10):
                link.outgoing.write(bytes(1000))
                await asyncio.sleep(0.05)
            link.writer.transport.resume_reading()
            return [await link.incoming.read(CHUNK) for _ in range(2)]

    assert asyncio.run(scenario()) == [ANSWER, b""]


@pytest.mark.parametrize("key", [
    links.node_key(OTHER_SECRET, NODE).key, links.node_key(SECRET, OTHER_NODE).key, "", "é", "\ud800", None, 7, ["x"],
], ids=["other secret", "other node", "empty", "letters", "half", "none", "number", "list"])  # fmt: skip
def test_who_has_not_the_key_of_the_node_gets_nothing(
    settings: Settings, running_sandbox: MakeSandbox, key: Any
) -> None:
    sandbox, _ = running_sandbox()
    proxy = Proxy()

    async def scenario() -> dict[str, Any]:
        async with linking.gateway(settings, proxy) as world:
            return await refusal(world, door=sandbox, key=key)

    assert "it does not take this node's key" in asyncio.run(scenario())["error"]
    assert proxy.whose == []


def test_a_node_cannot_use_the_execution_of_another_node(settings: Settings, running_sandbox: MakeSandbox) -> None:
    sandbox, _ = running_sandbox(OTHER_NODE)
    proxy = Proxy()

    async def scenario() -> dict[str, Any]:
        async with linking.gateway(settings, proxy) as world:
            refused = await refusal(world, door=sandbox)
            assert await linking.accepted(world, node=OTHER_NODE, door=sandbox)
            await linking.until(lambda: proxy.whose)
            return refused

    assert asyncio.run(scenario()) == {"accepted": False}
    assert len(proxy.whose) == 1


@pytest.mark.parametrize("node", ["", "\ud800", "n" * 10_000, None, 7])
def test_who_is_no_node_gets_nothing_and_no_fault_is_logged(
    settings: Settings, transactional_db: None, caplog: pytest.LogCaptureFixture, node: Any
) -> None:
    async def scenario() -> dict[str, Any]:
        async with linking.gateway(settings, Proxy()) as world:
            link = await links.connect(world.address, links.node_context(links.node_key(SECRET, NODE)))
            link.say({"node": node, "key": links.node_key(SECRET, NODE).key, "door": 1})
            async with asyncio.timeout(linking.LONG_S):
                return await link.line()

    assert "it does not take this node's key" in asyncio.run(scenario())["error"]
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("door", [0, -1, 2**63, 2**70, "1", 1.0, True, None, []])
def test_what_is_no_door_is_refused(settings: Settings, transactional_db: None, door: Any) -> None:
    async def scenario() -> dict[str, Any]:
        async with linking.gateway(settings, Proxy()) as world:
            return await refusal(world, door=door)

    assert asyncio.run(scenario()) == {"accepted": False}


@pytest.mark.parametrize("secret", ["", "short"])
def test_a_gateway_without_a_secret_does_not_start(settings: Settings, secret: str) -> None:
    settings.SANDBOX_EGRESS_NODES_SECRET = secret
    with pytest.raises(ValueError, match="SANDBOX_EGRESS_NODES_SECRET has fewer than 32 characters"):
        Nodes(Gateway(nodes=True))


def test_a_gateway_without_a_port_does_not_start(settings: Settings) -> None:
    settings.SANDBOX_EGRESS_NODES_LISTEN = "everywhere"
    with pytest.raises(ValueError, match="SANDBOX_EGRESS_NODES_LISTEN: write host:port"):
        Nodes(Gateway(nodes=True))


# --- Strangers ---


def connected(world: World) -> socket.socket:
    return socket.create_connection(world.address, timeout=linking.LONG_S)


async def closed(sock: socket.socket) -> bool:
    """Whether the gateway has closed it, once it has."""

    def read() -> bool:
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(CHUNK):
                pass
        return True

    return await asyncio.to_thread(read)


def test_who_says_nothing_is_closed(
    settings: Settings, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "INTRODUCTION_S", 0.2)
    monkeypatch.setattr(nodes, "INTRODUCTION_S", 0.2)

    async def scenario() -> list[bool]:
        async with linking.gateway(settings, Proxy()) as world:
            before_tls = await closed(connected(world))
            within = await links.connect(world.address, links.node_context(links.node_key(SECRET, NODE)))
            async with asyncio.timeout(linking.LONG_S):
                return [before_tls, await within.reader.read() == b""]

    assert asyncio.run(scenario()) == [True, True]


def test_strangers_are_bounded_and_leave_room_for_nodes_again(
    settings: Settings, running_sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "MAX_STRANGERS", 3)
    # Nobody is closed for having said nothing.
    monkeypatch.setattr(links, "INTRODUCTION_S", 4 * linking.LONG_S)
    sandbox, _ = running_sandbox()

    async def scenario() -> bool:
        async with linking.gateway(settings, Proxy()) as world:
            strangers = [connected(world) for _ in range(3)]
            await linking.until(lambda: world.nodes._strangers == 3)
            assert await closed(connected(world))
            for sock in strangers:
                sock.close()
            await linking.until(lambda: world.nodes._strangers == 0)
            return await linking.accepted(world, door=sandbox)

    assert asyncio.run(scenario())


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"nonsense\n", b"[" * 60_000 + b"\n", b"x" * 200_000])
def test_a_first_line_that_is_none_ends_the_link_only(
    settings: Settings, running_sandbox: MakeSandbox, caplog: pytest.LogCaptureFixture, line: bytes
) -> None:
    sandbox, _ = running_sandbox()

    async def scenario() -> tuple[bytes, bool]:
        async with linking.gateway(settings, Proxy()) as world:
            link = await links.connect(world.address, links.node_context(links.node_key(SECRET, NODE)))
            link.writer.write(line)
            async with asyncio.timeout(linking.LONG_S):
                with contextlib.suppress(ConnectionError):
                    assert await link.reader.read() == b""
            return b"", await linking.accepted(world, door=sandbox)

    assert asyncio.run(scenario()) == (b"", True)
    assert not [
        record for record in caplog.records if record.name == nodes.__name__ and record.levelno > logging.INFO
    ]


def test_refusals_are_counted_in_one_line_and_probes_of_the_port_in_none(
    settings: Settings, transactional_db: None, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with linking.gateway(settings, Proxy()) as world:
            for _ in range(3):
                connected(world).close()
            await linking.until(lambda: world.nodes._strangers == 0)
            await world.nodes.sweep()
            assert not caplog.records
            for _ in range(3):
                await refusal(world, key="wrong", door=1)
            await world.nodes.sweep()

    caplog.set_level(logging.WARNING, nodes.__name__)
    asyncio.run(scenario())
    assert [record.message for record in caplog.records] == ["egress: refused 3 connections without a node's key"]
