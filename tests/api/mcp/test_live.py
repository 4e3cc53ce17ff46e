"""The official SDK's own client against the running platform, in the newest revision and in the one before it."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import mcp_types
import pytest
import requests
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.live import TOKEN, Platform, eventually

pytestmark = pytest.mark.needs_docker
BEARER = {"Authorization": f"Bearer {TOKEN}"}
MODES = {"auto": "2026-07-28", "legacy": "2025-11-25"}
SLEEP = "import time\nprint('on', flush=True)\ntime.sleep(60)"
CHART = """
import matplotlib.pyplot as plt
plt.plot([1, 2])
plt.savefig("artifacts/chart.png")
open("artifacts/table.csv", "w").write("a,b")
"""
Talk = Callable[[Client], Awaitable[Any]]
NEWEST = "SELECT id, status, outcome FROM executions_execution WHERE endpoint = 'mcp' ORDER BY id DESC LIMIT 1"


@asynccontextmanager
async def connected(platform: Platform, mode: Any) -> Any:
    async with (
        httpx2.AsyncClient(headers=BEARER, timeout=90) as http,
        Client(streamable_http_client(f"{platform.url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


@pytest.fixture(params=MODES)
def talk(platform: Platform, request: pytest.FixtureRequest) -> Callable[[Talk], Any]:
    """What the conversation with a connected client returns."""

    async def held(conversation: Talk) -> Any:
        async with connected(platform, request.param) as client:
            assert client.protocol_version == MODES[request.param]
            return await conversation(client)

    return lambda conversation: asyncio.run(asyncio.wait_for(held(conversation), 120))


def run(client: Client, code: str, **more: Any) -> Any:
    options = {name: more.pop(name) for name in ("progress_callback", "read_timeout_seconds") if name in more}
    return client.call_tool("run_code", {"language": "python", "code": code} | more, **options)


def test_tools_are_listed_and_a_program_runs(talk: Callable[[Talk], Any]) -> None:
    async def conversation(client: Client) -> Any:
        listed = await client.list_tools()
        return [tool.name for tool in listed.tools], await run(client, "print(input()[::-1])", stdin="stressed")

    names, done = talk(conversation)
    assert names == ["run_code", "list_runtimes", "get_run", "search_runs"]
    assert not done.is_error
    assert (done.structured_content["status"], done.structured_content["stdout"]) == ("succeeded", "desserts\n")


def test_failing_program_is_a_normal_result(talk: Callable[[Talk], Any]) -> None:
    done = talk(lambda client: run(client, "raise ValueError('no')"))
    found = done.structured_content
    assert (done.is_error, found["status"], found["exit_code"]) == (False, "failed", 1)
    assert "ValueError: no" in found["stderr"]


def test_function_returns_a_value(talk: Callable[[Talk], Any]) -> None:
    program = "def main(a, b):\n    return {'sum': a + b}"
    done = talk(lambda client: run(client, program, mode="function", arguments={"a": 1, "b": 2}))
    assert done.structured_content["result"] == {"sum": 3}


def test_picture_is_shown_and_files_are_fetched_with_the_token(talk: Callable[[Talk], Any]) -> None:
    async def conversation(client: Client) -> Any:
        done = await run(client, CHART)
        links = [block for block in done.content if isinstance(block, mcp_types.ResourceLink)]
        return done, links, [await client.read_resource(link.uri) for link in links]

    done, links, read = talk(conversation)
    (image,) = (block for block in done.content if isinstance(block, mcp_types.ImageContent))
    assert image.mime_type == "image/png"
    assert base64.b64decode(image.data).startswith(b"\x89PNG")
    assert [link.name for link in links] == ["chart.png", "table.csv"]
    assert requests.get(links[1].uri, headers=BEARER, timeout=30).content == b"a,b"
    assert requests.get(links[1].uri, timeout=30).status_code == 401
    assert (read[0].contents[0].blob, read[1].contents[0].text) == (image.data, "a,b")


def test_long_run_reports_progress(talk: Callable[[Talk], Any]) -> None:
    heard: list[tuple[float, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message))

    done = talk(lambda client: run(client, "import time; time.sleep(4); print(1)", progress_callback=on_progress))
    assert done.structured_content["stdout"] == "1\n"
    assert len(heard) >= 2 and sorted(heard) == heard
    assert "running" in str(heard[-1][1])


def test_cancelled_request_cancels_the_run(talk: Callable[[Talk], Any], platform: Platform) -> None:
    before = platform.sql(NEWEST)

    async def conversation(client: Client) -> None:
        task = asyncio.create_task(run(client, SLEEP))

        def runs() -> bool:
            rows = platform.sql(NEWEST)
            return rows != before and rows[0]["status"] == "running"

        await asyncio.to_thread(eventually, runs, "it runs")
        task.cancel()
        await asyncio.wait([task])
        await asyncio.to_thread(
            eventually, lambda: platform.sql(NEWEST)[0]["status"] == "cancelled", "cancelled", 10
        )

    try:
        talk(conversation)
    except* anyio.BrokenResourceError:
        pass  # The SDK's, whose streams may close before the answer to the cancelled request has come.


def test_run_is_found_and_read_again(talk: Callable[[Talk], Any]) -> None:
    async def conversation(client: Client) -> Any:
        done = await run(client, "print('unmistakable', 6 * 7)", labels={"by": "mcp"})
        identity = done.structured_content["id"]
        found = await client.call_tool("search_runs", {"q": "unmistakable", "label": ["by:mcp"], "limit": 1})
        again = await client.call_tool("get_run", {"id": identity})
        return identity, found.structured_content["runs"][0]["id"], again.structured_content

    identity, found, again = talk(conversation)
    assert (found, again["stdout"]) == (identity, "unmistakable 42\n")


def test_runtimes_have_their_packages(talk: Callable[[Talk], Any]) -> None:
    found = talk(lambda client: client.call_tool("list_runtimes", {})).structured_content["runtimes"]
    assert {"python", "nodejs"} <= {row["slug"] for row in found}
