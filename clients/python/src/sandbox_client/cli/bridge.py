"""Forwards MCP's JSON-RPC messages to `POST /mcp` of a platform, and its answers back.

Messages are forwarded as they are, so tools, revisions and errors are the platform's. Added is what HTTP needs beside
the body, what a lost connection or a refusal means for a request, and what cancels a run. docs/mcp.md of the platform
describes the protocol.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.abc
import httpx

from sandbox_client import sse
from sandbox_client.errors import error_of, retry_after
from sandbox_client.retries import NOT_SENT, Retries

Json = dict[str, Any]

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
REFUSED = -32000
INITIALIZE = "initialize"
CALL = "tools/call"
CANCELLED = "notifications/cancelled"
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
VERSION_HEADER = "MCP-Protocol-Version"
SESSION_HEADER = "Mcp-Session-Id"
# Methods with a part of the body that the header Mcp-Name repeats.
NAMED = {CALL: "name", "prompts/get": "name", "resources/read": "uri"}
PLAIN = re.compile(r"(?! |=\?base64\?)[\x20-\x7e]*(?<! )")
STREAM = "text/event-stream"
ACCEPTED = f"application/json, {STREAM}"
# The platform sends something every 10 seconds while a run goes on.
TIMEOUT = httpx.Timeout(60, connect=10, pool=None)
UNAVAILABLE = (502, 503, 504)
RETRY_S = 5.0
# Between two attempts to cancel: the request may still be on its way.
CANCEL_PAUSES_S = (1, 2, 4)
# The official SDK kills a server four seconds after it has closed its stdin.
END_S = 3.0


@dataclass(eq=False)
class Request:
    """A request that is not answered yet."""

    body: bytes
    message: Json
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)
    is_unwanted: bool = False
    """Whether it was cancelled, so that nobody waits for its answer."""

    @property
    def method(self) -> Any:
        """The method, as it was sent."""
        return self.message["method"]

    @property
    def is_modern(self) -> bool:
        """Whether it is of a revision since 2026-07-28, in which a closed connection cancels."""
        return _version_of(self.message) is not None


class Bridge:
    """One client's conversation with a platform."""

    def __init__(
        self,
        address: str,
        token: Callable[[], str],
        out: Callable[[bytes], Awaitable[object]],
        *,
        log: Callable[[str], object],
        transport: httpx.AsyncBaseTransport | None = None,
        retries: Retries = Retries(most=3),  # noqa: B008 - it is immutable
    ) -> None:
        """`token`: called again after a 401, for there may have been a login since. `out`: takes one line."""
        self.is_deaf = False
        """Whether the client takes no more answers."""
        self._address, self._url = address, f"{address}/mcp"
        self._token_now, self._token = token, token()
        self._out, self._log, self._retries = out, log, retries
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        self._http = httpx.AsyncClient(transport=transport, timeout=TIMEOUT, limits=limits)
        self._open: set[Request] = set()
        self._writing = anyio.Lock()
        self._reading = anyio.CancelScope()
        # What `initialize` has agreed on, in the older revisions.
        self._greeting: Request | None = None
        self._session = ""
        self._version: str | None = None

    def stop(self) -> None:
        """End as if there were no more lines."""
        self._reading.cancel()

    async def serve(self, lines: AsyncIterable[bytes]) -> None:
        """Forward these lines to their end, then cancel what still runs."""
        async with self._http, anyio.create_task_group() as tasks:
            with self._reading:
                async for line in lines:
                    if line := line.strip():
                        await self._take(line, tasks)
            with anyio.move_on_after(END_S):
                await self._end()
            tasks.cancel_scope.cancel()

    async def _take(self, line: bytes, tasks: anyio.abc.TaskGroup) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            await self._write(_error(PARSE_ERROR, "This line is not JSON."))
            return
        if not isinstance(message, dict):
            await self._write(_error(INVALID_REQUEST, "Send one JSON-RPC message a line: a JSON object."))
        elif "method" not in message:
            self._log("An answer was ignored: the platform asks nothing.")
        elif "id" not in message:
            tasks.start_soon(self._notified, message, line)
        else:
            # Known before its task runs: the next line may cancel it.
            request = Request(line, message)
            self._open.add(request)
            if request.method == INITIALIZE:
                self._greeting = request
            tasks.start_soon(self._request, request)

    async def _request(self, request: Request) -> None:
        try:
            with request.scope:
                if self._greeting and self._greeting is not request:
                    await self._greeting.ended.wait()
                answer = await self._answer(request)
                if not request.is_unwanted:
                    await self._write(answer)
        finally:
            self._open.discard(request)
            request.ended.set()

    async def _answer(self, request: Request) -> bytes:
        """Return the answer, after retries."""
        attempt = 0
        while not request.is_unwanted:
            try:
                return await self._exchanged(request)
            except httpx.TransportError as e:
                # In a session, a call that is repeated with its id returns the first one's run.
                repeatable = request.method != CALL or bool(self._session and not request.is_modern)
                pause = self._retries.after_failure(attempt, e, repeatable=repeatable)
                if pause is None:
                    return self._lost(request, e)
            except (httpx.InvalidURL, UnicodeError) as e:
                return self._failed(request, {"code": REFUSED, "message": f"{self._url}: {e}"})
            attempt += 1
            await anyio.sleep(pause)
        return b""

    async def _exchanged(self, request: Request) -> bytes:
        token = self._token
        headers = self._headers(request.message)
        async with self._http.stream("POST", self._url, content=request.body, headers=headers) as response:
            if response.headers.get("Content-Type", "").startswith(STREAM):
                return await self._followed(request, response)
            await response.aread()
        if response.status_code == 401 and await self._is_renewed(token):
            return await self._exchanged(request)
        return self._answer_of(request, response)

    async def _followed(self, request: Request, response: httpx.Response) -> bytes:
        """Forward what the platform tells meanwhile, and return the answer. Raises TransportError if it breaks off."""
        parser = sse.Parser()
        async for piece in response.aiter_bytes():
            for event in parser.feed(piece):
                try:
                    message = json.loads(event.data)
                except ValueError as e:
                    raise httpx.RemoteProtocolError("the platform sent an event that is not JSON") from e
                line = _line(event.data.encode(), message)
                if "method" not in message:
                    return line
                if not request.is_unwanted:
                    await self._write(line)
        raise httpx.RemoteProtocolError("the answer broke off")

    async def _is_renewed(self, token: str) -> bool:
        """Return whether there is another token than this one now."""
        self._token = await anyio.to_thread.run_sync(self._token_now)
        return self._token != token

    def _headers(self, message: Json) -> dict[str, str]:
        headers = {"Accept": ACCEPTED, "Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        method = message["method"]
        version = _version_of(message)
        if version is not None:
            headers |= {VERSION_HEADER: _header(version), "Mcp-Method": _header(str(method))}
            name = _params(message).get(NAMED.get(str(method), ""))
            if isinstance(name, str):
                headers["Mcp-Name"] = _header(name)
        elif method != INITIALIZE:
            if self._version:
                headers[VERSION_HEADER] = _header(self._version)
            if self._session:
                headers[SESSION_HEADER] = self._session
        return headers

    def _answer_of(self, request: Request, response: httpx.Response) -> bytes:
        try:
            answer = json.loads(response.content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or "jsonrpc" not in answer:
            text = "this is no answer of MCP. The address may be another server's."
            error: Json = {"code": REFUSED, "message": text if response.is_success else str(error_of(response))}
            error["message"] = f"{self._url}: {error['message']}"
        elif answer.get("id") is None and isinstance(answer.get("error"), dict):
            # Refused before its id was read.
            error = answer["error"]
        else:
            if request is self._greeting and isinstance(answer.get("result"), dict):
                self._session = response.headers.get(SESSION_HEADER, "")
                self._version = answer["result"].get("protocolVersion")
            return _line(response.content, answer)
        if response.status_code == 401:
            error["message"] = f"{error.get('message')} Log in with `sandbox login {self._address}`."
        after = retry_after(response.headers.get("Retry-After"))
        if after is None and response.status_code in UNAVAILABLE:
            after = RETRY_S
        return self._failed(request, error, after)

    def _lost(self, request: Request, failure: httpx.TransportError) -> bytes:
        if request.method != CALL or isinstance(failure, NOT_SENT):
            what = "The platform cannot be reached."
        elif request.is_modern:
            what = "The connection was lost, and with it a run that had begun."
        else:
            what = "The connection was lost. A run that had begun continues: search_runs finds it."
        text = f"{self._url}: {failure or type(failure).__name__}. {what}"
        return self._failed(request, {"code": REFUSED, "message": text}, RETRY_S)

    def _failed(self, request: Request, error: Json, after: float | None = None) -> bytes:
        """Return the error as the request's answer, with the seconds after which another attempt may succeed."""
        if after is not None:
            data = error.get("data")
            error["message"] = f"{error.get('message')} Try again in {after:.0f} s."
            error["data"] = (data if isinstance(data, dict) else {}) | {"retry_after_s": after}
        self._log(str(error.get("message")))
        return _encoded({"jsonrpc": "2.0", "id": request.message["id"], "error": error})

    async def _notified(self, message: Json, body: bytes) -> None:
        if message["method"] != CANCELLED:
            await self._notify(message, body)
            return
        identity = _params(message).get("requestId")
        request = next((it for it in self._open if _is_same(it.message["id"], identity)), None)
        if request is not None:
            await self._cancel(request, message)
        elif self._session and _version_of(message) is None:
            # It was answered meanwhile, perhaps with a run that goes on.
            await self._notify(message, body)

    async def _cancel(self, request: Request, notification: Json) -> None:
        """Cancel a request: by closing its connection, or by a notification until the platform has ended it."""
        request.is_unwanted = True
        if request.is_modern:
            request.scope.cancel()
            return
        for pause in CANCEL_PAUSES_S:
            await self._notify(notification, _encoded(notification))
            with anyio.move_on_after(pause):
                await request.ended.wait()
                return
        request.scope.cancel()

    async def _notify(self, message: Json, body: bytes) -> None:
        try:
            response = await self._http.post(self._url, content=body, headers=self._headers(message))
        except (httpx.TransportError, httpx.InvalidURL, UnicodeError) as e:
            self._log(f"{message['method']} was not delivered: {e or type(e).__name__}")
            return
        if not response.is_success:
            self._log(f"{message['method']} was not taken: {error_of(response)}")

    async def _end(self) -> None:
        """Cancel the calls that still run, and wait for the other answers."""
        async with anyio.create_task_group() as ending:
            for request in list(self._open):
                if request.method == CALL:
                    params = {"requestId": request.message["id"], "reason": "The client has gone."}
                    notification = {"jsonrpc": "2.0", "method": CANCELLED, "params": params}
                    ending.start_soon(self._cancel, request, notification)
                ending.start_soon(request.ended.wait)

    async def _write(self, line: bytes) -> None:
        async with self._writing:
            try:
                await self._out(line + b"\n")
            except OSError as e:
                self._log(f"The client takes no answers: {e}")
                self.is_deaf = True
                self.stop()


def _params(message: Json) -> Json:
    params = message.get("params")
    return params if isinstance(params, dict) else {}


def _version_of(message: Json) -> str | None:
    """Return the revision that the message names itself, as all do since 2026-07-28."""
    meta = _params(message).get("_meta")
    version = meta.get(VERSION_KEY) if isinstance(meta, dict) else None
    return version if isinstance(version, str) else None


def _is_same(one: Any, other: Any) -> bool:
    # "1" is not 1, nor is true.
    return type(one) is type(other) and one == other


def _header(value: str) -> str:
    if PLAIN.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode('utf-8', 'replace')).decode()}?="


def _error(code: int, text: str) -> bytes:
    """Return an error about a message without an id."""
    return _encoded({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": text}})


def _encoded(message: Json) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _line(text: bytes, message: Json) -> bytes:
    """Return a message as one line: as it came, if it is one."""
    text = text.strip()
    return _encoded(message) if b"\n" in text or b"\r" in text else text
