"""What a guest finds behind a door whose gateway is elsewhere, and what the node does while that one is away."""

import asyncio
import logging
import socket
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from executions.egress import admission, forwarding, links
from executions.egress.carrying import CHUNK
from executions.egress.forwarding import Forwarder
from executions.egress.gateway import TRIALS, UNAVAILABLE
from sandboxes import doors
from tests.executions.egress import linking
from tests.executions.egress.linking import ANSWER, OTHER_SECRET, REQUEST, MakeSandbox, Proxy
from tests.live import free_port

running_sandbox = linking.running_sandbox
MUCH = bytes(range(256)) * 12_000


@pytest.fixture(autouse=True)
def linked(settings: Settings, tmp_path: Path) -> None:
    linking.set_up(settings, tmp_path)


def silent_gateway(settings: Settings) -> socket.socket:
    """A machine that takes connections and says nothing."""
    return socket.create_server(links.address_of(settings.SANDBOX_EGRESS_REMOTE))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


def test_a_request_gets_to_the_proxy_as_its_execution_s(settings: Settings, running_sandbox: MakeSandbox) -> None:
    sandbox, execution = running_sandbox()
    proxy = Proxy()

    async def scenario() -> bytes:
        async with linking.gateway(settings, proxy), linking.node(sandbox):
            return await (await linking.guest(sandbox)).get()

    assert asyncio.run(scenario()) == ANSWER
    assert proxy.whose == [execution]


def test_much_arrives_whole_in_both_directions(settings: Settings, running_sandbox: MakeSandbox) -> None:
    """Also after the guest has closed its sending side."""
    sandbox, _ = running_sandbox()
    settings.SANDBOX_EGRESS_BYTES = 3 * len(MUCH)

    async def scenario() -> bytes:
        async with linking.gateway(settings, Proxy(echo)), linking.node(sandbox):
            return await (await linking.guest(sandbox)).get(MUCH, ends=True)

    assert asyncio.run(scenario()) == MUCH


def test_an_answer_that_comes_while_the_guest_still_sends_arrives(
    settings: Settings, running_sandbox: MakeSandbox
) -> None:
    """As when the proxy refuses a large upload by its head."""
    sandbox, _ = running_sandbox()

    async def scenario() -> bytes:
        async with linking.gateway(settings, Proxy()), linking.node(sandbox):
            return await (await linking.guest(sandbox)).get(REQUEST + MUCH)

    assert asyncio.run(scenario()) == ANSWER


def test_the_gateway_counts_the_bytes_and_cuts(settings: Settings, running_sandbox: MakeSandbox) -> None:
    sandbox, _ = running_sandbox()
    settings.SANDBOX_EGRESS_BYTES = 4 * CHUNK

    async def scenario() -> list[bytes]:
        async with linking.gateway(settings, Proxy(echo)), linking.node(sandbox):
            return [await (await linking.guest(sandbox)).get(MUCH, ends=True) for _ in range(5)]

    got = asyncio.run(scenario())
    assert len(got[0]) <= 4 * CHUNK
    # What came before the cut, and not that the gateway is away.
    assert all(MUCH.startswith(each) for each in got)


def test_a_door_of_nobody_leads_nowhere(settings: Settings, transactional_db: None) -> None:
    proxy = Proxy()

    async def scenario() -> bytes:
        async with linking.gateway(settings, proxy), linking.node(7):
            return await (await linking.guest(7)).get()

    assert asyncio.run(scenario()) == b""
    assert proxy.whose == []


# --- A gateway that is away ---


def test_without_a_gateway_a_request_is_refused_and_the_door_stays(
    settings: Settings, running_sandbox: MakeSandbox
) -> None:
    sandbox, _ = running_sandbox()

    async def scenario() -> list[bytes]:
        async with linking.node(sandbox):
            before = await (await linking.guest(sandbox)).get()
            async with linking.gateway(settings, Proxy()):
                between = await (await linking.guest(sandbox)).get()
            after = await (await linking.guest(sandbox)).get()
            async with linking.gateway(settings, Proxy()):
                return [before, between, after, await (await linking.guest(sandbox)).get()]

    assert asyncio.run(scenario()) == [UNAVAILABLE, ANSWER, UNAVAILABLE, ANSWER]


def test_a_gateway_that_stops_ends_open_connections(settings: Settings, running_sandbox: MakeSandbox) -> None:
    sandbox, _ = running_sandbox()

    async def scenario() -> bytes:
        async with linking.node(sandbox):
            async with linking.gateway(settings, Proxy(linking.keep)):
                it = await linking.guest(sandbox)
                assert await it.reader.readexactly(4) == b"here"
            return await it.get()

    assert asyncio.run(scenario()) == b""


def test_a_gateway_that_stops_before_the_answer_is_told(settings: Settings, running_sandbox: MakeSandbox) -> None:
    sandbox, _ = running_sandbox()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async def scenario() -> bytes:
        proxy = Proxy(silent)
        async with linking.node(sandbox):
            async with linking.gateway(settings, proxy):
                getting = asyncio.ensure_future((await linking.guest(sandbox)).get())
                await linking.until(lambda: proxy.whose)
            return await getting

    assert asyncio.run(scenario()) == UNAVAILABLE


def test_a_proxy_that_is_away_is_told_by_the_gateway(settings: Settings, running_sandbox: MakeSandbox) -> None:
    sandbox, _ = running_sandbox()

    async def scenario() -> bytes:
        async with linking.gateway(settings, Proxy()), linking.node(sandbox):
            settings.SANDBOX_EGRESS_PROXY = f"127.0.0.1:{free_port()}"
            return await (await linking.guest(sandbox)).get()

    assert asyncio.run(scenario()) == UNAVAILABLE


def test_a_gateway_that_accepts_and_says_nothing_is_given_up(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "CONNECT_S", 0.2)
    monkeypatch.setattr(forwarding, "INTRODUCTION_S", 0.2)

    async def scenario() -> bytes:
        with silent_gateway(settings):
            async with linking.node(7):
                return await (await linking.guest(7)).get()

    assert asyncio.run(scenario()) == UNAVAILABLE


def test_that_the_gateway_is_away_is_logged_once_and_with_the_reason(
    settings: Settings, transactional_db: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, forwarding.__name__)

    async def scenario() -> None:
        async with linking.node(7):
            for _ in range(3):
                await (await linking.guest(7)).get()
            async with linking.gateway(settings, Proxy()):
                for _ in range(3):
                    await (await linking.guest(7)).get()

    asyncio.run(scenario())
    refused, back = [
        record.message for record in caplog.records if "again" in record.message or "refused" in record.message
    ]
    assert refused.startswith(
        f"egress: requests are refused: the egress gateway at {settings.SANDBOX_EGRESS_REMOTE}: "
    )
    assert back == "egress: the gateway answers again"


# --- Which gateway, and whether it is one ---


def test_a_gateway_with_another_secret_is_sent_nothing(
    settings: Settings, running_sandbox: MakeSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox, _ = running_sandbox()
    settings.SANDBOX_EGRESS_NODES_SECRET = OTHER_SECRET
    proxy = Proxy()

    async def scenario() -> bytes:
        async with linking.gateway(settings, proxy), linking.node(sandbox):
            return await (await linking.guest(sandbox)).get()

    assert asyncio.run(scenario()) == UNAVAILABLE
    assert proxy.whose == []
    assert "it has another secret than the one that this node's key was made with" in caplog.text


def test_the_key_of_another_node_is_no_use(
    settings: Settings, running_sandbox: MakeSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox, _ = running_sandbox()
    settings.SANDBOX_EGRESS_NODE_KEY = str(links.node_key(linking.SECRET, linking.OTHER_NODE))

    async def scenario() -> bytes:
        async with linking.gateway(settings, Proxy()), linking.node(sandbox):
            return await (await linking.guest(sandbox)).get()

    assert asyncio.run(scenario()) == UNAVAILABLE
    assert "it does not take this node's key" in caplog.text


@pytest.mark.parametrize(("name", "value"), [
    ("REMOTE", ""), ("REMOTE", "gateway"), ("REMOTE", ":3130"),
    ("NODE_KEY", ""), ("NODE_KEY", "abc"), ("NODE_KEY", "abc:???"), ("NODE_KEY", "abc:YWJj"),
])  # fmt: skip
def test_a_setting_that_is_missing_or_wrong_is_named(settings: Settings, name: str, value: str) -> None:
    setattr(settings, f"SANDBOX_EGRESS_{name}", value)
    with pytest.raises(ValueError, match=f"SANDBOX_EGRESS_{name}: "):
        Forwarder()


def addresses(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    """Let the gateway's name have these addresses."""

    async def getaddrinfo(loop: Any, host: str, port: int, **_: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, port)) for address in found]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


def order(forwarder: Forwarder, sandbox_id: int) -> list[str]:
    return [host for host, _ in asyncio.run(forwarder._in_order(sandbox_id))]


def test_sandboxes_are_spread_over_gateways_and_each_stays_with_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses(monkeypatch, "10.0.0.1", "10.0.0.2", "10.0.0.3")
    first = {sandbox_id: order(Forwarder(), sandbox_id)[0] for sandbox_id in range(1, 100)}
    assert set(first.values()) == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}
    assert {sandbox_id: order(Forwarder(), sandbox_id)[0] for sandbox_id in first} == first


def test_a_gateway_that_is_added_takes_no_sandbox_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it counted for the run would count no more."""
    forwarder = Forwarder()
    addresses(monkeypatch, "10.0.0.1")
    forwarder._chosen = dict.fromkeys(range(1, 20), ("10.0.0.1", forwarder._gateway[1]))
    addresses(monkeypatch, "10.0.0.1", "10.0.0.2")
    assert {order(forwarder, sandbox_id)[0] for sandbox_id in forwarder._chosen} == {"10.0.0.1"}


def test_a_name_without_an_address_is_not_looked_up_for_each_request(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []

    async def getaddrinfo(loop: Any, host: str, port: int, **_: Any) -> list[Any]:
        looked_up.append(host)
        raise socket.gaierror

    async def scenario() -> list[bytes]:
        monkeypatch.setattr(forwarding, "AGAIN_S", 60)
        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
        async with linking.node(7):
            return [await (await linking.guest(7)).get() for _ in range(3)]

    assert asyncio.run(scenario()) == [UNAVAILABLE] * 3
    assert len(looked_up) == 1


def test_another_gateway_is_asked_if_the_first_one_is_away(
    settings: Settings, running_sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox, _ = running_sandbox()

    async def scenario() -> bytes:
        async with linking.gateway(settings, Proxy()), linking.node(sandbox) as forwarder:
            port = forwarder._gateway[1]

            async def both(_: int) -> list[tuple[str, int]]:
                return [("127.0.0.1", free_port()), ("127.0.0.1", port)]

            monkeypatch.setattr(forwarder, "_in_order", both)
            return await (await linking.guest(sandbox)).get()

    assert asyncio.run(scenario()) == ANSWER


# --- Doors of the node ---


def test_a_door_has_a_bounded_number_of_connections(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_OPEN_PER_DOOR", 2)

    async def scenario() -> list[bytes]:
        with silent_gateway(settings):
            async with linking.node(7, 8):
                held = [await linking.guest(7) for _ in range(2)]
                beyond = await (await linking.guest(7)).get()
                held.append(await linking.guest(8))
                waiting = [asyncio.ensure_future(it.reader.read(1)) for it in held]
                await asyncio.sleep(0.3)
                assert not any(each.done() for each in waiting)
                return [beyond]

    assert asyncio.run(scenario()) == [b""]


def test_keeper_s_request_for_a_door_needs_no_gateway(settings: Settings) -> None:
    async def scenario() -> str:
        async with linking.node():
            return await asyncio.to_thread(doors.make, 9)

    assert asyncio.run(scenario()) == str(doors.root() / "9")


def test_doctor_s_question_is_answered_by_the_gateway_elsewhere(
    settings: Settings, transactional_db: None
) -> None:
    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nX-Squid-Error: ERR_EGRESS_ADDRESS 0\r\n\r\n")

    async def scenario() -> Any:
        async with linking.gateway(settings, Proxy(refusing)), linking.node():
            return await asyncio.to_thread(doors.ask, {"try": True})

    assert asyncio.run(scenario()) == {"tried": dict.fromkeys(TRIALS, "ERR_EGRESS_ADDRESS")}


def test_doctor_is_told_why_no_gateway_answers(settings: Settings) -> None:
    async def scenario() -> Any:
        async with linking.node():
            return await asyncio.to_thread(doors.ask, {"try": True})

    with pytest.raises(doors.EngineError, match=f"the egress gateway at {settings.SANDBOX_EGRESS_REMOTE}"):
        asyncio.run(scenario())
