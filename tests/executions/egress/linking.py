"""A node and a gateway that are linked by real sockets, in one process. A server stands for the proxy."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from pytest_django import Settings

from executions.egress import links
from executions.egress.carrying import CHUNK
from executions.egress.forwarding import Forwarder
from executions.egress.gateway import Gateway, execution_of
from executions.egress.links import Link
from executions.egress.nodes import Nodes
from executions.models import Status
from runtimes.models import Network, Runtime
from sandboxes import doors
from sandboxes.models import Sandbox, SandboxState
from seccomp_profiles.models import hash_rules
from tests.live import free_port

SECRET, OTHER_SECRET = "a-secret-of-the-gateways-of-tests-1", "a-secret-of-the-gateways-of-tests-2"
NODE, OTHER_NODE = "node-a", "node-b"
REQUEST, ANSWER = b"GET http://allowed.example.test/ HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nhello"
LONG_S = 30
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER)


async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say something, and stay until the other side goes."""
    writer.write(b"here")
    while await reader.read(CHUNK):
        pass


@dataclass
class Proxy:
    serve: Serve = answer
    whose: list[uuid.UUID] = field(default_factory=list)  # of each connection, as the gateway says
    gone: int = 0  # connections that are over

    async def come(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.whose.append(execution_of((await reader.readline()).split()[2].decode()))
            await self.serve(reader, writer)
        self.gone += 1
        writer.close()


@dataclass
class Guest:
    """A connection to a door."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def get(self, sent: bytes = REQUEST, *, ends: bool = False) -> bytes:
        """What comes until the end. `ends`: the guest closes its sending side at once."""
        self.writer.write(sent)
        if ends:
            self.writer.write_eof()
        got = b""
        async with asyncio.timeout(LONG_S):
            with contextlib.suppress(ConnectionError):
                while data := await self.reader.read(CHUNK):
                    got += data
        self.writer.close()
        return got


@dataclass
class World:
    proxy: Proxy
    gateway: Gateway
    nodes: Nodes
    address: tuple[str, int]
    links: list[Link] = field(default_factory=list)  # that stay open

    async def link(self, node: str = NODE, secret: str = SECRET, **said: Any) -> tuple[Link, dict[str, Any]]:
        """A link of a node that says this, and the gateway's answer."""
        key = links.node_key(secret, node)
        context = links.node_context(links.node_key(SECRET, node))
        link = await links.connect(self.address, context)
        link.say({"node": node, "key": key.key} | said)
        async with asyncio.timeout(LONG_S):
            return link, await link.line()


async def accepted(world: World, **said: Any) -> bool:
    """Whether the link is let through; it stays open."""
    link, answered = await world.link(**said)
    world.links.append(link)
    return bool(answered.get("accepted"))


def set_up(settings: Settings, folder: Path) -> None:
    settings.SANDBOX_NODE = NODE
    settings.SANDBOX_EGRESS_DIR = folder
    settings.SANDBOX_EGRESS_LISTEN = f"127.0.0.1:{free_port()}"
    settings.SANDBOX_EGRESS_NODES_SECRET = SECRET
    settings.SANDBOX_EGRESS_NODES_LISTEN = settings.SANDBOX_EGRESS_REMOTE = f"127.0.0.1:{free_port()}"
    settings.SANDBOX_EGRESS_NODE_KEY = str(links.node_key(SECRET, NODE))
    doors.provide()


@contextlib.asynccontextmanager
async def running(work: Any) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def gateway(settings: Settings, proxy: Proxy) -> AsyncIterator[World]:
    """A gateway for nodes, until the end of the block, which ends its connections."""
    async with await asyncio.start_server(proxy.come, "127.0.0.1", 0) as outside:
        settings.SANDBOX_EGRESS_PROXY = f"127.0.0.1:{outside.sockets[0].getsockname()[1]}"
        it = Gateway(nodes=True)
        nodes = Nodes(it)
        async with running(it.run(nodes)):
            address = links.address_of(settings.SANDBOX_EGRESS_NODES_LISTEN)
            await until(lambda: nodes._listener)
            yield World(proxy, it, nodes, address)


@contextlib.asynccontextmanager
async def node(*sandboxes: int) -> AsyncIterator[Forwarder]:
    """A node with doors of these sandboxes, and no database."""
    for sandbox_id in sandboxes:
        (doors.root() / str(sandbox_id)).mkdir(exist_ok=True)
    forwarder = Forwarder()
    async with running(forwarder.run()):
        await until(lambda: (doors.root() / doors.CONTROL).exists())
        yield forwarder


async def guest(sandbox_id: int) -> Guest:
    return Guest(*await asyncio.open_unix_connection(doors.root() / str(sandbox_id) / doors.SOCKET))


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(LONG_S):
        while not condition():
            await asyncio.sleep(0.02)


MakeSandbox = Callable[..., tuple[int, uuid.UUID]]


@pytest.fixture
def running_sandbox(transactional_db: None, python_runtime: Runtime, make_execution: Any) -> MakeSandbox:
    """Makes a sandbox with egress that runs an execution; returns the ids of both."""

    def make(node: str = NODE, **execution: Any) -> tuple[int, uuid.UUID]:
        row = make_execution(**{"status": Status.RUNNING, "network": Network.EGRESS} | execution)
        sandbox = Sandbox.objects.create(
            node=node, runtime=python_runtime, runtime_revision=1, profile_sha256=hash_rules(None),
            network=Network.EGRESS, state=SandboxState.CLAIMED, execution_id=row.pk,
        )  # fmt: skip
        return sandbox.pk, row.pk

    return make


@sync_to_async(thread_sensitive=False)
def release(sandbox_id: int) -> None:
    """Let the run be over: its sandbox is used up."""
    Sandbox.objects.filter(pk=sandbox_id).update(state=SandboxState.USED, execution_id=None)
    connection.close()
