"""The official SDK's own stdio client starts `sandbox mcp`, which talks to a real platform in both revisions."""

import asyncio
import base64
import json
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import mcp_types
import pytest
from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.clients_python.conftest import environment
from tests.live import TOKEN, Platform, eventually, free_port

pytestmark = pytest.mark.needs_docker
MODES: dict[str, Any] = {"auto": "2026-07-28", "legacy": "2025-11-25"}
COMMAND = [sys.executable, "-m", "sandbox_client.cli", "mcp"]
SLEEP = {"language": "python", "code": "import time\nprint('on', flush=True)\ntime.sleep(60)"}
NEWEST = "SELECT id, status, outcome FROM executions_execution WHERE endpoint = 'mcp' ORDER BY id DESC LIMIT 1"
Conversation = Callable[[Client], Awaitable[Any]]


def talk(conversation: Conversation, mode: Any, env: dict[str, str]) -> Any:
    async def held() -> Any:
        server = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=env)
        async with Client(stdio_client(server), mode=mode) as client:
            assert client.protocol_version == MODES[mode]
            return await conversation(client)

    return asyncio.run(asyncio.wait_for(held(), 120))


@pytest.fixture
def env(platform: Platform, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, SANDBOX_URL=platform.url, SANDBOX_TOKEN=TOKEN)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(client: Client, code: str, **more: Any) -> Any:
    return client.call_tool("run_code", {"language": "python", "code": code}, **more)


def status_of_newest(platform: Platform, before: Any) -> str:
    rows = platform.sql(NEWEST)
    return str(rows[0]["status"]) if rows != before else ""


def test_the_platform_s_tools_run_programs(env: dict[str, str], mode: str) -> None:
    heard: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async def conversation(client: Client) -> Any:
        names = [tool.name for tool in (await client.list_tools()).tools]
        # At the same time: a long run with progress, and others.
        long = asyncio.create_task(run(client, "import time; time.sleep(3)", progress_callback=on_progress))
        code = "open('artifacts/ä.bin', 'wb').write(bytes([0, 255])); print('\\u2028ä')"
        done, failed = await asyncio.gather(run(client, code), run(client, "exit(3)"))
        (link,) = (it for it in done.content if isinstance(it, mcp_types.ResourceLink))
        read = (await client.read_resource(link.uri)).contents[0]
        return names, done.structured_content, failed.structured_content, read, await long

    names, done, failed, read, long = talk(conversation, mode, env)
    assert names == ["run_code", "list_runtimes", "get_run", "search_runs"]
    assert (done["status"], done["stdout"]) == ("succeeded", "\u2028ä\n")
    assert (failed["status"], failed["exit_code"]) == ("failed", 3)
    assert base64.b64decode(read.blob) == bytes([0, 255])
    assert long.structured_content["status"] == "succeeded"
    assert heard and sorted(heard) == heard


def test_a_cancelled_request_cancels_the_run(platform: Platform, env: dict[str, str], mode: str) -> None:
    before = platform.sql(NEWEST)

    async def conversation(client: Client) -> Any:
        task = asyncio.create_task(client.call_tool("run_code", SLEEP))
        await asyncio.to_thread(eventually, lambda: status_of_newest(platform, before) == "running", "it runs")
        task.cancel()
        await asyncio.wait([task])
        await asyncio.to_thread(eventually, lambda: status_of_newest(platform, before) == "cancelled", "cancelled")
        return await run(client, "print(1)")

    assert talk(conversation, mode, env).structured_content["stdout"] == "1\n"


def test_an_unreachable_platform_and_a_wrong_token_are_errors(
    platform: Platform, env: dict[str, str], mode: str
) -> None:
    async def conversation(client: Client) -> None:
        raise AssertionError("there is nothing to talk to")

    for change, text in (
        ({"SANDBOX_URL": f"http://127.0.0.1:{free_port()}"}, "cannot be reached. Try again in 5 s."),
        ({"SANDBOX_TOKEN": "wrong"}, f"Log in with `sandbox login {platform.url}`."),
    ):
        with pytest.raises((MCPError, ExceptionGroup)) as caught:
            talk(conversation, mode, env | change)
        error: BaseException = caught.value
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        assert text in str(error)


INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def lines(mode: str, *requests: tuple[str, dict[str, Any]]) -> bytes:
    meta = {"_meta": MODERN} if mode == "auto" else {}
    messages: list[dict[str, Any]] = [] if meta else [{"id": 0, "method": "initialize", "params": INITIALIZE}]
    messages += [
        {"id": number, "method": method, "params": params | meta}
        for number, (method, params) in enumerate(requests, 1)
    ]
    return b"".join(json.dumps({"jsonrpc": "2.0"} | it).encode() + b"\n" for it in messages)


@pytest.mark.parametrize("end", ["stdin", "signal"])
def test_the_end_cancels_the_run_and_stdout_has_messages_only(
    platform: Platform, env: dict[str, str], mode: str, end: str
) -> None:
    before = platform.sql(NEWEST)
    bridge = subprocess.Popen(
        COMMAND, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert bridge.stdin
    bridge.stdin.write(lines(mode, ("tools/list", {}), ("tools/call", {"name": "run_code", "arguments": SLEEP})))
    bridge.stdin.flush()
    eventually(lambda: status_of_newest(platform, before) == "running", "it runs")
    if end == "signal":
        bridge.send_signal(signal.SIGTERM)
        assert bridge.wait(30) == 128 + signal.SIGTERM
    out, logged = bridge.communicate(timeout=30)
    if end == "stdin":
        assert bridge.returncode == 0, logged
    answers = [json.loads(line) for line in out.splitlines()]
    assert sorted(it["id"] for it in answers) == ([1] if mode == "auto" else [0, 1])
    assert logged.decode().splitlines() == [f"sandbox: MCP of {platform.url} on stdin and stdout"]
    eventually(lambda: status_of_newest(platform, before) == "cancelled", "the run is cancelled")
