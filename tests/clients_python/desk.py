"""The two ends of a bridge of `sandbox mcp`: a client, and a platform that a test plays."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx
from sandbox_client import Retries
from sandbox_client.cli.bridge import Bridge

Json = dict[str, Any]
Handler = Callable[[httpx.Request], Awaitable[httpx.Response]]
NOW, BEFORE = "2026-07-28", "2025-11-25"
SESSION = "the-session"


def request(identity: Any, method: str = "tools/call", *, modern: bool = True, **params: Any) -> Json:
    if method == "tools/call":
        params = {"name": "run_code", "arguments": {}} | params
    if modern:
        params["_meta"] = {"io.modelcontextprotocol/protocolVersion": NOW}
    return {"jsonrpc": "2.0", "id": identity, "method": method, "params": params}


def cancelling(identity: Any) -> Json:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": identity}}


def result(sent: httpx.Request, **values: Any) -> Json:
    return {"jsonrpc": "2.0", "id": json.loads(sent.content)["id"], "result": values}


class Desk:
    """The client's end of a bridge, and what the platform has seen."""

    def __init__(self, handler: Handler, token: Callable[[], str] = lambda: "t") -> None:
        self.seen: list[httpx.Request] = []
        self.closed: list[Any] = []  # ids of requests whose connection was closed before the answer
        self.logged: list[str] = []
        self._handler = handler
        self._feed, self._lines = anyio.create_memory_object_stream[bytes](100)
        self._out, self._heard = anyio.create_memory_object_stream[bytes](100)
        self._token = token
        self.is_deaf = False

    async def _send(self, line: bytes) -> None:
        if self.is_deaf:
            raise BrokenPipeError
        assert line.endswith(b"\n") and line.count(b"\n") == 1
        await self._out.send(line)

    async def _answer(self, sent: httpx.Request) -> httpx.Response:
        self.seen.append(sent)
        message = json.loads(sent.content)
        if message["method"] == "initialize":
            await anyio.wait_all_tasks_blocked()  # whoever does not wait for its answer goes first
            answer = result(sent, protocolVersion=BEFORE)
            return httpx.Response(200, json=answer, headers={"Mcp-Session-Id": SESSION})
        try:
            return await self._handler(sent)
        except anyio.get_cancelled_exc_class():
            self.closed.append(message.get("id"))
            raise

    async def say(self, *messages: Json | bytes) -> None:
        for it in messages:
            await self._feed.send(it if isinstance(it, bytes) else json.dumps(it).encode() + b"\n")

    async def hear(self) -> Json:
        with anyio.fail_after(30):
            return dict(json.loads(await self._heard.receive()))

    async def ask(self, message: Json) -> Json:
        await self.say(message)
        return await self.hear()

    async def greet(self) -> None:
        await self.ask(request(0, "initialize", modern=False))

    async def until(self, condition: Callable[[], Any]) -> None:
        with anyio.fail_after(30):
            while not condition():
                await anyio.sleep(0.01)

    def methods(self) -> list[str]:
        return [json.loads(it.content)["method"] for it in self.seen]

    def talk(self, conversation: Callable[["Desk"], Awaitable[None]]) -> list[Json]:
        """Hold a conversation, let stdin end, and return what was written after that."""

        async def held() -> list[Json]:
            self.bridge = Bridge(
                "http://platform", self._token, self._send, log=self.logged.append,
                transport=httpx.MockTransport(self._answer), retries=Retries(most=2),
            )  # fmt: skip
            with anyio.fail_after(60):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self.bridge.serve, self._lines)
                    await conversation(self)
                    self._feed.close()
                self._out.close()
                return [json.loads(line) async for line in self._heard]

        return anyio.run(held)


def answering(*answers: httpx.Response | Exception | Json) -> Handler:
    left = list(answers)

    async def handler(sent: httpx.Request) -> httpx.Response:
        if "id" not in json.loads(sent.content):
            return httpx.Response(202)
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, httpx.Response) else httpx.Response(200, json=result(sent, **found))

    return handler


async def hanging(sent: httpx.Request) -> httpx.Response:
    """Calls never end; everything else is answered."""
    message = json.loads(sent.content)
    if "id" not in message:
        return httpx.Response(202)
    if message["method"] == "tools/call":
        await anyio.sleep_forever()
    return httpx.Response(200, json=result(sent))
