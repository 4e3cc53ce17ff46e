"""The two clients: they perform the steps of flows.py, one of them with a thread that blocks, the other with await."""

from __future__ import annotations

import functools
import inspect
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

import anyio
import httpx

from sandbox_client.flows import Flows
from sandbox_client.retries import Retries
from sandbox_client.steps import Emit, Flow, Open, Pause, Read, Send, Step, Stream, emitting

T = TypeVar("T")
P = ParamSpec("P")
DEFAULT_URL = "http://127.0.0.1:9385"
PIECE = 64 * 1024
Progress = Callable[[int, int], object]


class _Client:
    """What both clients have: the address, the token and the operations."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = 30,
        retries: Retries = Retries(),  # noqa: B008 - it is immutable
        on_upload: Progress | None = None,
        transport: Any = None,
    ) -> None:
        """Without `url` or `token`, the environment's SANDBOX_URL and SANDBOX_TOKEN count. Raises InvalidArgument.

        `timeout`: seconds for the platform to answer, beyond the time that a request waits for a run.
        `on_upload`: called with the bytes that were sent and all there are, while a request's body is sent.
        `transport`: an httpx transport in place of the network.
        """
        given = os.environ.get("SANDBOX_TOKEN", "") if token is None else token
        address = url or os.environ.get("SANDBOX_URL") or DEFAULT_URL
        self._flows = Flows(address, given, timeout=timeout, retries=retries)
        self.url = self._flows.url
        self._on_upload = on_upload
        self._http = self._made(transport)

    def _made(self, transport: Any) -> Any:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"


def _described(method: Callable[..., Any], flow: Callable[..., Any], returned: str) -> None:
    """Give a method the signature of its flow, as `help()`, notebooks and the reference show it."""
    signature = inspect.signature(flow)
    found = re.fullmatch(r"(?:Flow|Stream)\[(.*)\]", str(signature.return_annotation))
    value = found[1] if found else str(signature.return_annotation)
    vars(method)["__signature__"] = signature.replace(return_annotation=returned.format(value))


def _blocking(flow: Callable[Concatenate[Flows, P], Flow[T]]) -> Callable[Concatenate[Sandbox, P], T]:
    @functools.wraps(flow)
    def method(self: Sandbox, /, *args: P.args, **kwargs: P.kwargs) -> T:
        (result,) = self._driven(emitting(flow(self._flows, *args, **kwargs)))
        return result

    _described(method, flow, "{}")
    return method


def _iterating(flow: Callable[Concatenate[Flows, P], Stream[T]]) -> Callable[Concatenate[Sandbox, P], Iterator[T]]:
    @functools.wraps(flow)
    def method(self: Sandbox, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self._driven(flow(self._flows, *args, **kwargs))

    _described(method, flow, "Iterator[{}]")
    return method


class Sandbox(_Client):
    """A platform, for code that blocks. Threads may share it. `with` closes its connections."""

    _http: httpx.Client

    def _made(self, transport: httpx.BaseTransport | None) -> httpx.Client:
        return httpx.Client(transport=transport)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    run = _blocking(Flows.run)
    submit = _blocking(Flows.submit)
    get = _blocking(Flows.get)
    wait = _blocking(Flows.wait)
    stream = _iterating(Flows.stream)
    batch = _blocking(Flows.batch)
    submit_batch = _blocking(Flows.submit_batch)
    wait_batch = _blocking(Flows.wait_batch)
    cancel = _blocking(Flows.cancel)
    files = _blocking(Flows.files)
    artifacts = _blocking(Flows.artifacts)
    search = _iterating(Flows.search)
    runtimes = _blocking(Flows.runtimes)
    me = _blocking(Flows.me)

    def _driven(self, steps: Stream[T]) -> Iterator[T]:
        """Perform the steps and yield what they emit."""
        opened = _Opened()
        answer: Any = None
        error: Exception | None = None
        try:
            while True:
                try:
                    step = steps.throw(error) if error else steps.send(answer)
                except StopIteration:
                    return
                answer = error = None
                if isinstance(step, Emit):
                    yield step.value
                    continue
                try:
                    answer = self._performed(step, opened)
                except httpx.RequestError as e:
                    error = e
        finally:
            opened.close()

    def _performed(self, step: Step, opened: _Opened) -> Any:
        match step:
            case Send(request):
                return self._http.send(self._watched(request))
            case Open(request):
                opened.close()
                response = opened.response = self._http.send(request, stream=True)
                if response.status_code != 200:
                    response.read()
                opened.pieces = response.iter_bytes()
                return response
            case Read():
                return next(opened.pieces, None)
            case Pause(seconds):
                time.sleep(seconds)
        return None

    def _watched(self, request: httpx.Request) -> httpx.Request:
        watcher, body = self._on_upload, request.content
        if watcher is None or not body:
            return request

        def pieces() -> Iterator[bytes]:
            for start in range(0, len(body), PIECE):
                yield body[start : start + PIECE]
                watcher(min(start + PIECE, len(body)), len(body))

        return _with_body(request, pieces())


class _Opened:
    """The answer that a stream reads from."""

    response: httpx.Response | None = None
    pieces: Iterator[bytes] = iter(())

    def close(self) -> None:
        if self.response is not None:
            self.response.close()


def _awaited(
    flow: Callable[Concatenate[Flows, P], Flow[T]],
) -> Callable[Concatenate[AsyncSandbox, P], Awaitable[T]]:
    @functools.wraps(flow)
    async def method(self: AsyncSandbox, /, *args: P.args, **kwargs: P.kwargs) -> T:
        (result,) = [it async for it in self._driven(emitting(flow(self._flows, *args, **kwargs)))]
        return result

    _described(method, flow, "{}")
    return method


def _iterating_async(
    flow: Callable[Concatenate[Flows, P], Stream[T]],
) -> Callable[Concatenate[AsyncSandbox, P], AsyncIterator[T]]:
    @functools.wraps(flow)
    def method(self: AsyncSandbox, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self._driven(flow(self._flows, *args, **kwargs))

    _described(method, flow, "AsyncIterator[{}]")
    return method


class AsyncSandbox(_Client):
    """A platform, for asyncio and trio: the operations of Sandbox, awaited. `async with` closes its connections."""

    _http: httpx.AsyncClient

    def _made(self, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=transport)

    async def __aenter__(self) -> AsyncSandbox:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    run = _awaited(Flows.run)
    submit = _awaited(Flows.submit)
    get = _awaited(Flows.get)
    wait = _awaited(Flows.wait)
    stream = _iterating_async(Flows.stream)
    batch = _awaited(Flows.batch)
    submit_batch = _awaited(Flows.submit_batch)
    wait_batch = _awaited(Flows.wait_batch)
    cancel = _awaited(Flows.cancel)
    files = _awaited(Flows.files)
    artifacts = _awaited(Flows.artifacts)
    search = _iterating_async(Flows.search)
    runtimes = _awaited(Flows.runtimes)
    me = _awaited(Flows.me)

    async def _driven(self, steps: Stream[T]) -> AsyncIterator[T]:
        """Perform the steps and yield what they emit."""
        opened = _OpenedAsync()
        answer: Any = None
        error: Exception | None = None
        try:
            while True:
                try:
                    step = steps.throw(error) if error else steps.send(answer)
                except StopIteration:
                    return
                answer = error = None
                if isinstance(step, Emit):
                    yield step.value
                    continue
                try:
                    answer = await self._performed(step, opened)
                except httpx.RequestError as e:
                    error = e
        finally:
            await opened.close()

    async def _performed(self, step: Step, opened: _OpenedAsync) -> Any:
        match step:
            case Send(request):
                return await self._http.send(self._watched(request))
            case Open(request):
                await opened.close()
                response = opened.response = await self._http.send(request, stream=True)
                if response.status_code != 200:
                    await response.aread()
                opened.pieces = response.aiter_bytes()
                return response
            case Read():
                return await anext(opened.pieces, None)
            case Pause(seconds):
                await anyio.sleep(seconds)
        return None

    def _watched(self, request: httpx.Request) -> httpx.Request:
        watcher, body = self._on_upload, request.content
        if watcher is None or not body:
            return request

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(body), PIECE):
                yield body[start : start + PIECE]
                watcher(min(start + PIECE, len(body)), len(body))

        return _with_body(request, pieces())


class _OpenedAsync:
    """The answer that a stream reads from."""

    response: httpx.Response | None = None
    pieces: AsyncIterator[bytes]

    async def close(self) -> None:
        if self.response is not None:
            await self.response.aclose()


def _with_body(request: httpx.Request, pieces: Iterator[bytes] | AsyncIterator[bytes]) -> httpx.Request:
    """Return the request with a body that is sent piece by piece; its length is in the headers already."""
    return httpx.Request(
        request.method, request.url, headers=request.headers, content=pieces, extensions=request.extensions
    )
