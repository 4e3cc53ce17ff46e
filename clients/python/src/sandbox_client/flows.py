"""What every operation does, without doing any input or output: the core that both clients are shells of.

An operation is a generator. It yields steps (send this request, wait so long, read the next piece), a client performs
them in its own way and sends back what came of it, and the generator returns the result or yields it piece by piece.
Requests, retries, polling, paging and resuming are here once.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from sandbox_client import sse
from sandbox_client.access import address_of, checked_token
from sandbox_client.artifacts import Artifact, Artifacts
from sandbox_client.errors import (
    ConnectionFailed,
    InvalidArgument,
    SandboxError,
    UnexpectedAnswer,
    WaitTimeout,
    error_of,
)
from sandbox_client.models import Batch, Caller, Event, Execution, File, Runtime
from sandbox_client.programs import Program, Unpack, body_of
from sandbox_client.retries import Retries
from sandbox_client.searching import Filters, page_of, query_of
from sandbox_client.steps import Emit, Flow, Open, Pause, Read, Send, Stream, collected

T = TypeVar("T")
# One request of a wait. Proxies close connections that are silent for a minute.
LONGEST_POLL_S = 30.0
# Between polls of a platform that has no place for a request that waits.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
EVENTS = "text/event-stream"
# What reading another server's JSON raises.
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
RESULT_FIELDS = (
    "id,status,outcome,message,runtime,exit_code,signal,stdout,stderr,result,labels,artifact_count,queued_at,"
    "finished_at,duration_ms,peak_memory_bytes,stdout_truncated,stderr_truncated,started,batch_id,request_id"
)


Named = str | uuid.UUID | Execution


class Flows:
    """The operations, for one platform and token."""

    def __init__(self, url: str, token: str, *, timeout: float, retries: Retries) -> None:
        self.url = address_of(url)
        token = checked_token(token)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = timeout
        self._retries = retries

    def run(
        self,
        code: str | None = None,
        /,
        *,
        timeout: float | None = None,
        idempotency_key: str | None = None,
        **program: Unpack[Program],
    ) -> Flow[Execution]:
        """Run a program and return the ended execution, however it ended.

        `timeout`: seconds to wait, retries included. Raises WaitTimeout then; the run continues. So it does after
        Ctrl-C, when the awaiting task is cancelled, and after an error that has a `submitted_id`. To bound the run,
        send `limits={"wall_time_ms": 2000}`. Calling it twice with one `idempotency_key` runs the program once.
        """
        deadline = _deadline(timeout)
        execution = yield from self._submit(code, program, idempotency_key, lambda: _poll(deadline), deadline)
        with _submitted(execution.id):
            return (yield from self._until_ended(execution, deadline))

    def submit(
        self, code: str | None = None, /, *, idempotency_key: str | None = None, **program: Unpack[Program]
    ) -> Flow[Execution]:
        """Submit a program and return the execution at once; `wait` and `stream` follow it."""
        return (yield from self._submit(code, program, idempotency_key, lambda: 0))

    def get(self, execution: Named) -> Flow[Execution]:
        """Return the execution as it is now."""
        return (yield from self._json("GET", f"/executions/{_id(execution)}", Execution.parse))

    def wait(self, execution: Named, *, timeout: float | None = None) -> Flow[Execution]:
        """Wait for the end and return the execution. Raises WaitTimeout after `timeout` seconds."""
        deadline = _deadline(timeout)
        first = yield from self._poll(f"/executions/{_id(execution)}", Execution.parse, deadline)
        return (yield from self._until_ended(first, deadline))

    def stream(self, execution: Named, *, after: str = "") -> Stream[Event]:
        """Yield output and changes of status as they come, to the end; reconnects without losing or repeating any.

        `after`: id of the event to continue after.
        """
        path, failures = f"/executions/{_id(execution)}/events", 0
        while True:
            request = self._request("GET", path, headers={"Last-Event-ID": after} if after else {})
            response = yield from self._answer(partial(Open, request))
            if response.status_code == 204:
                return
            if not response.headers.get("Content-Type", EVENTS).startswith(EVENTS):
                raise UnexpectedAnswer(f"{request.url}: no stream of events")
            parser, cause = sse.Parser(), None
            try:
                while (piece := (yield Read())) is not None:
                    for message in parser.feed(piece):
                        after, failures = message.id, 0
                        if message.event == "end":
                            return
                        yield Emit(_event(message))
            except httpx.TransportError as e:
                cause = e
            except httpx.RequestError as e:
                raise UnexpectedAnswer(f"{request.url}: {e}") from e
            pause = self._retries.pause(failures)
            if failures >= self._retries.most:
                raise ConnectionFailed(f"the stream of events broke off: {cause or 'closed early'}") from cause
            failures += 1
            yield Pause(pause)

    def batch(self, programs: Iterable[str | Program], *, timeout: float | None = None) -> Flow[Batch]:
        """Run many programs, at most 1,000, and return the batch when all have ended, with their output.

        `timeout` is the time to wait, as that of `run`.
        """
        deadline = _deadline(timeout)
        batch = yield from self._submit_batch(programs, deadline)
        with _submitted(batch.id):
            return (yield from self._until_finished(batch, deadline))

    def submit_batch(self, programs: Iterable[str | Program]) -> Flow[Batch]:
        """Submit many programs, all or none, and return the batch at once."""
        return (yield from self._submit_batch(programs, None))

    def wait_batch(self, batch: str | Batch, *, timeout: float | None = None) -> Flow[Batch]:
        """Wait until all executions of a batch have ended, and return it with their output."""
        return (yield from self._until_finished(batch, _deadline(timeout)))

    def cancel(self, execution: Named) -> Flow[Execution]:
        """Cancel an execution. Raises Conflict if it has ended, which an earlier attempt may have done."""
        return (yield from self._json("POST", f"/executions/{_id(execution)}/cancel", Execution.parse))

    def files(self, execution: Named) -> Flow[tuple[File, ...]]:
        """Return path and size of each file that was sent with the program."""
        return (yield from self.get(execution)).files

    def artifacts(
        self, execution: Named, *, names: Iterable[str] | None = None, content: bool = True
    ) -> Flow[Artifacts]:
        """Return the files that the program left in artifacts/: those with these names, or all.

        `content=False` only lists them.
        """
        path = f"/executions/{_id(execution)}/artifacts"
        wanted = None if names is None else set(names)
        found = []
        for artifact in (yield from self._json("GET", path, _list_of(Artifact.parse))):
            if wanted is not None and artifact.name not in wanted:
                continue
            if content:
                request = self._request("GET", f"{path}/{quote(artifact.name, safe='')}")
                data = (yield from self._answer(partial(Send, request))).content
                artifact = replace(artifact, content=data)
            found.append(artifact)
        return Artifacts(found)

    def search(
        self, words: str = "", *, limit: int | None = None, **filters: Unpack[Filters]
    ) -> Stream[Execution]:
        """Yield the executions that match, newest first, page by page; `limit` of them at most.

        `words`: looked for in code and output of ended executions; "a phrase", `-word` and `or` work.
        """
        path, count = "/executions", 0
        params: list[tuple[str, str]] | None = query_of(words, filters, limit)
        while True:
            found, following = yield from self._json("GET", path, page_of, params=params)
            for execution in found:
                if count == limit:
                    return
                count += 1
                yield Emit(execution)
            if not following or count == limit:
                return
            path, params = following, None

    def runtimes(self) -> Flow[list[Runtime]]:
        """Return the languages of the platform, disabled ones too."""
        return (yield from self._json("GET", "/runtimes", _list_of(Runtime.parse)))

    def me(self) -> Flow[Caller]:
        """Return who the token belongs to."""
        return (yield from self._json("GET", "/me", Caller.parse))

    # What the operations are made of.

    def _submit(
        self,
        code: str | None,
        program: Program,
        key: str | None,
        wait: Callable[[], float],
        deadline: float | None = None,
    ) -> Flow[Execution]:
        if code is not None:
            program["code"] = code
        body = body_of(program)
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}

        def made() -> Send:
            body["wait"] = asked = wait()
            return Send(self._request("POST", "/executions", body=body, headers=headers, wait=asked))

        return _read((yield from self._answer(made, deadline=deadline)), Execution.parse)

    def _submit_batch(self, programs: Iterable[str | Program], deadline: float | None) -> Flow[Batch]:
        bodies = [body_of({"code": it} if isinstance(it, str) else it) for it in programs]
        request = self._request("POST", "/batches", body={"executions": bodies})
        answer = yield from self._answer(partial(Send, request), repeatable=False, deadline=deadline)
        return _read(answer, Batch.parse)

    def _until_ended(self, execution: Execution, deadline: float | None) -> Flow[Execution]:
        pause = FIRST_PAUSE_S
        while not execution.ended:
            if _over(deadline):
                raise WaitTimeout(execution)
            began, asked = time.monotonic(), _poll(deadline)
            execution = yield from self._poll(f"/executions/{_id(execution)}", Execution.parse, deadline)
            # Answered early: the platform has no place for another request that waits.
            if not execution.ended and time.monotonic() - began < asked / 2:
                yield Pause(_within(deadline, pause))
                pause = min(2 * pause, LONGEST_PAUSE_S)
        return execution

    def _until_finished(self, batch: str | Batch, deadline: float | None) -> Flow[Batch]:
        pause = FIRST_PAUSE_S
        path = f"/batches/{quote(batch.id if isinstance(batch, Batch) else batch, safe='')}"
        while True:
            began, asked = time.monotonic(), _poll(deadline)
            current = yield from self._poll(path, Batch.parse, deadline)
            if current.finished:
                return (yield from self._with_output(current))
            if _over(deadline):
                raise WaitTimeout(current)
            if time.monotonic() - began < asked / 2:
                yield Pause(_within(deadline, pause))
                pause = min(2 * pause, LONGEST_PAUSE_S)

    def _with_output(self, batch: Batch) -> Flow[Batch]:
        """Return the batch with its executions read again, page by page: a batch's own answer has no output."""
        filters: Filters = {"batch": batch.id, "fields": RESULT_FIELDS.split(",")}
        read = {it.id: it for it in (yield from collected(self.search(**filters)))}
        return Batch(batch.id, batch.finished, batch.counts, tuple(read.get(it.id, it) for it in batch.executions))

    def _poll(self, path: str, parse: Callable[[Any], T], deadline: float | None) -> Flow[T]:
        def made() -> Send:
            asked = _poll(deadline)
            return Send(self._request("GET", path, params={"wait": f"{asked:.3f}"}, wait=asked))

        return _read((yield from self._answer(made, deadline=deadline)), parse)

    def _json(self, method: str, path: str, parse: Callable[[Any], T], *, params: Any = None) -> Flow[T]:
        request = self._request(method, path, params=params)
        return _read((yield from self._answer(partial(Send, request))), parse)

    def _request(
        self,
        method: str,
        path: str,
        *,
        params: Any = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        wait: float = 0,
    ) -> httpx.Request:
        timeout = httpx.Timeout(self._timeout, read=self._timeout + wait)
        try:
            return httpx.Request(
                method,
                f"{self.url}/api/v1{path}",
                params=params,
                json=body,
                headers={**self._headers, **(headers or {})},
                extensions={"timeout": timeout.as_dict()},
            )
        except (httpx.InvalidURL, UnicodeEncodeError) as e:
            # Words that are too many for a URL, or characters that UTF-8 or a header does not have.
            raise InvalidArgument(f"the request cannot be sent: {e}") from e

    def _answer(
        self, made: Callable[[], Send | Open], *, repeatable: bool = True, deadline: float | None = None
    ) -> Flow[httpx.Response]:
        """Return the answer of success, after retries up to the deadline.

        Raises ConnectionFailed, UnexpectedAnswer and what errors.error_of() returns.
        """
        attempt = 0
        while True:
            error: SandboxError
            try:
                response: httpx.Response = yield made()
            except httpx.TransportError as e:
                pause = self._retries.after_failure(attempt, e, repeatable=repeatable)
                error = ConnectionFailed(f"{self.url}: {e or type(e).__name__}")
                error.__cause__ = e
            except httpx.RequestError as e:
                raise UnexpectedAnswer(f"{self.url}: {e or type(e).__name__}") from e
            else:
                if response.is_success:
                    return response
                error = error_of(response)
                pause = self._retries.after_refusal(attempt, error, repeatable=repeatable)
            if pause is None or _within(deadline, pause) < pause:
                raise error
            attempt += 1
            yield Pause(pause)


@contextmanager
def _submitted(identity: str) -> Iterator[None]:
    """Tell with an error what the platform has accepted before."""
    try:
        yield
    except SandboxError as e:
        e.submitted_id = identity
        raise


def _read(response: httpx.Response, parse: Callable[[Any], T]) -> T:
    try:
        return parse(response.json())
    except UNREADABLE as e:
        raise UnexpectedAnswer(
            f"{response.request.url}: not what this API answers ({type(e).__name__}: {e})"
        ) from e


def _list_of(parse: Callable[[Any], T]) -> Callable[[Any], list[T]]:
    def parsed(raw: Any) -> list[T]:
        if not isinstance(raw, list):
            raise TypeError("not a list")
        return [parse(it) for it in raw]

    return parsed


def _event(message: sse.Message) -> Event:
    try:
        return Event.parse(message.id, message.event, json.loads(message.data))
    except UNREADABLE as e:
        raise UnexpectedAnswer(f"not an event of this API: {message.event[:100]!r}") from e


def _id(execution: Named) -> str:
    return quote(str(execution.id if isinstance(execution, Execution) else execution), safe="")


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _within(deadline: float | None, seconds: float) -> float:
    return seconds if deadline is None else max(0.0, min(seconds, deadline - time.monotonic()))


def _poll(deadline: float | None) -> float:
    return _within(deadline, LONGEST_POLL_S)


def _over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline
