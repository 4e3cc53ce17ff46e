import asyncio
import ipaddress
import uuid
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from executions.egress.gateway import Gateway, execution_behind, execution_of, parse_ended
from executions.models import Status
from runtimes.models import Network, Runtime
from sandboxes import doors
from sandboxes.engine import EngineError
from sandboxes.models import Sandbox, SandboxState
from seccomp_profiles.models import hash_rules

ADDRESS = "19a:c1e2:0:7000:8000::1"


def test_address_is_the_execution() -> None:
    assert execution_of(ADDRESS) == uuid.UUID("019ac1e2-0000-7000-8000-000000000001")


@pytest.mark.parametrize("address", ["127.0.0.1", "-", "", "x"])
def test_other_addresses_are_no_execution(address: str) -> None:
    with pytest.raises(ValueError):
        execution_of(address)


def test_line_of_a_request_that_went_well() -> None:
    ended = parse_ended(f"7 {ADDRESS} CONNECT example.com 443 TCP_TUNNEL 200 - 203.0.113.9 120 4000")
    assert (ended.request_id, ended.denied, ended.reason, ended.status) == (7, False, "", 200)
    assert (ended.request.host, ended.address, ended.bytes_sent, ended.bytes_received) == (
        "example.com", "203.0.113.9", 120, 4000,
    )  # fmt: skip


def test_line_of_a_refused_request() -> None:
    ended = parse_ended(f"7 {ADDRESS} GET inside.test 80 TCP_DENIED 403 address - 120 400")
    assert (ended.denied, ended.reason, ended.address) == (True, "address", None)


def test_line_of_what_was_no_request() -> None:
    ended = parse_ended(f"- {ADDRESS} NONE - - NONE_NONE 400 - - 30 0")
    assert (ended.request_id, ended.request.method, ended.request.port) == (None, "NONE", 0)


@pytest.mark.parametrize(
    "line", ["", "7", f"7 {ADDRESS} GET a 80 X 200 - nonsense 1 1", "a b c d e f g h i j k l m"]
)
def test_line_that_is_none_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        parse_ended(line)


@pytest.fixture
def behind(python_runtime: Runtime, make_execution: Any) -> Any:
    """Who is behind the door of a sandbox that is like this."""

    def found(execution: dict[str, Any], **sandbox: Any) -> bool:
        row = make_execution(**{"status": Status.RUNNING, "network": Network.EGRESS} | execution)
        fields = {
            "node": "this-node", "runtime": python_runtime, "runtime_revision": 1,
            "profile_sha256": hash_rules(None), "network": Network.EGRESS,
            "state": SandboxState.CLAIMED, "execution_id": row.pk,
        }  # fmt: skip
        behind = execution_behind("this-node", Sandbox.objects.create(**fields | sandbox).pk)
        assert behind in (None, row.pk)
        return behind is not None

    return found


def test_behind_a_door_is_who_runs_there(behind: Any) -> None:
    assert behind({})


@pytest.mark.parametrize("sandbox", [
    {"state": SandboxState.READY, "execution_id": None}, {"state": SandboxState.STARTING},
    {"state": SandboxState.USED}, {"node": "another"}, {"network": Network.NONE},
])  # fmt: skip
def test_behind_another_door_is_nobody(behind: Any, sandbox: dict[str, Any]) -> None:
    assert not behind({}, **sandbox)


@pytest.mark.parametrize("execution", [{"status": Status.SUCCEEDED}, {"network": Network.NONE}])
def test_who_does_not_run_or_has_no_egress_is_nobody(behind: Any, execution: dict[str, Any]) -> None:
    assert not behind(execution)


def test_without_a_gateway_there_is_no_door(settings: Settings, tmp_path: Any) -> None:
    settings.SANDBOX_EGRESS_DIR = tmp_path
    doors.provide()
    with pytest.raises(EngineError, match="egress service does not answer"):
        doors.make(1)


def test_a_run_waits_for_a_gateway_that_comes_back(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SANDBOX_EGRESS_DIR = tmp_path
    doors.provide()
    answers: list[dict[str, Any] | EngineError] = [EngineError("away"), EngineError("away"), {"opened": True}]

    def ask(question: dict[str, Any]) -> dict[str, Any]:
        answer = answers.pop(0)
        if isinstance(answer, EngineError):
            raise answer
        return answer

    monkeypatch.setattr(doors, "ask", ask)
    monkeypatch.setattr(doors, "AGAIN_S", 0)
    assert doors.make(1, patience_s=600) == str(doors.root() / "1")


def test_a_gateway_that_takes_over_counts_on(
    settings: Settings, transactional_db: None, make_execution: Any
) -> None:
    """Another one, or this one before a restart, has recorded requests of the run."""
    settings.SANDBOX_EGRESS_REQUESTS = 2
    execution = make_execution(status=Status.RUNNING, network=Network.EGRESS)
    line = f"0 {ipaddress.IPv6Address(execution.pk.int)} GET other.example 80"

    async def asked(times: int) -> None:
        gateway = Gateway()
        # At the same time, as the proxy asks.
        await asyncio.gather(*(gateway._decide(line) for _ in range(times)))

    asyncio.run(asked(1))
    asyncio.run(asked(4))
    reasons = execution.egress_requests.values_list("reason", flat=True)
    assert sorted(reasons) == ["limit", "no_egress", "no_egress"]


# --- Who asks and reports ---

SECRET = "of-gateway-and-proxy"


class Recording(Gateway):
    """A gateway that keeps what it is told, without a database."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    async def _decide(self, line: str) -> str:
        self.heard.append(line)
        return "1 OK"

    async def _complete(self, line: str) -> None:
        self.heard.append(line)


def heard_from(first_line: str) -> list[str]:
    """What the gateway takes for the proxy's words on a connection that begins with this line."""
    gateway = Recording()

    async def talk() -> None:
        async with await asyncio.start_server(gateway._proxy_asks, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            writer.write(f"{first_line}\n1 forged line\n".encode())
            writer.write_eof()
            async with asyncio.timeout(10):
                await reader.read()
            writer.close()

    asyncio.run(talk())
    return gateway.heard


@pytest.mark.parametrize("kind", ["decide", "log"])
def test_the_proxy_is_known_by_its_secret(settings: Settings, kind: str) -> None:
    settings.SANDBOX_EGRESS_SECRET = SECRET
    assert heard_from(f"{kind} {SECRET}") == ["1 forged line"]


@pytest.mark.parametrize("words", ["", " ", " wrong", f" {SECRET}x", f" {SECRET} x"])
@pytest.mark.parametrize("kind", ["decide", "log"])
def test_nobody_else_is_heard(settings: Settings, kind: str, words: str) -> None:
    settings.SANDBOX_EGRESS_SECRET = SECRET
    assert heard_from(f"{kind}{words}") == []


@pytest.mark.parametrize("words", ["", " ", " anything"])
def test_without_a_secret_nobody_is_the_proxy(settings: Settings, words: str) -> None:
    settings.SANDBOX_EGRESS_SECRET = ""
    assert heard_from(f"log{words}") == []
