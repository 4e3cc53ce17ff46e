"""A gateway with the doors of its own machine, as on a host of the Compose stack."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pytest_django import Settings

from executions.egress.gateway import Gateway
from executions.egress.listening import Doors
from sandboxes import doors
from tests.executions.egress import linking
from tests.executions.egress.linking import ANSWER, OTHER_NODE, MakeSandbox, Proxy

running_sandbox = linking.running_sandbox


@pytest.fixture(autouse=True)
def here(settings: Settings, tmp_path: Path) -> None:
    linking.set_up(settings, tmp_path)
    settings.SANDBOX_EGRESS_NODES_LISTEN = settings.SANDBOX_EGRESS_REMOTE = ""


@contextlib.asynccontextmanager
async def gateway(settings: Settings, proxy: Proxy, *sandboxes: int) -> AsyncIterator[Gateway]:
    for sandbox_id in sandboxes:
        (doors.root() / str(sandbox_id)).mkdir()
    async with await asyncio.start_server(proxy.come, "127.0.0.1", 0) as outside:
        settings.SANDBOX_EGRESS_PROXY = f"127.0.0.1:{outside.sockets[0].getsockname()[1]}"
        it = Gateway()
        async with linking.running(it.run(Doors(it))):
            await linking.until(lambda: (doors.root() / doors.CONTROL).exists())
            yield it


def test_a_request_gets_to_the_proxy_as_its_execution_s(settings: Settings, running_sandbox: MakeSandbox) -> None:
    sandbox, execution = running_sandbox()
    proxy = Proxy()

    async def scenario() -> bytes:
        async with gateway(settings, proxy, sandbox):
            return await (await linking.guest(sandbox)).get()

    assert asyncio.run(scenario()) == ANSWER
    assert proxy.whose == [execution]


def test_a_door_of_another_node_s_sandbox_leads_nowhere(settings: Settings, running_sandbox: MakeSandbox) -> None:
    sandbox, _ = running_sandbox(OTHER_NODE)
    proxy = Proxy()

    async def scenario() -> bytes:
        async with gateway(settings, proxy, sandbox):
            return await (await linking.guest(sandbox)).get()

    assert asyncio.run(scenario()) == b""
    assert proxy.whose == []


def test_the_end_of_a_run_ends_its_connections(settings: Settings, running_sandbox: MakeSandbox) -> None:
    sandbox, _ = running_sandbox()

    async def scenario() -> bytes:
        async with gateway(settings, Proxy(linking.keep), sandbox) as it:
            guest = await linking.guest(sandbox)
            assert await guest.reader.readexactly(4) == b"here"
            await linking.release(sandbox)
            await it.sweep()
            return await guest.get()

    assert asyncio.run(scenario()) == b""
