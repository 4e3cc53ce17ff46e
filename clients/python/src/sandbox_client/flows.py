"""What every operation does, without doing any input or output: the core that both clients are shells of.

An operation is a generator. It yields steps (send this request, wait so long, read the next piece), a client performs
them in its own way and sends back what came of it, and the generator returns the result or yields it piece by piece.
Requests, retries, polling, paging and resuming are here once.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypedDict, TypeVar
from urllib.parse import quote

import httpx

from sandbox_client import sse
from sandbox_client.artifacts import Artifact, Artifacts
from sandbox_client.errors import ConnectionFailed, UnexpectedAnswer, WaitTimeout, error_of
from sandbox_client.models import Batch, Caller, Event, Execution, File, Runtime
from sandbox_client.programs import Program, Unpack, body_of
from sandbox_client.retries import Retries

T = TypeVar("T")
Emitted = TypeVar("Emitted", covariant=True)
# One request of a wait. Proxies close connections that are silent for a minute.
LONGEST_POLL_S = 30.0
# Between polls of a platform that has no place for a request that waits.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
PAGE = 100
RESULT_FIELDS = (
    "id,status,outcome,message,runtime,exit_code,signal,stdout,stderr,result,labels,artifact_count,queued_at,"
    "finished_at,duration_ms,peak_memory_bytes,stdout_truncated,stderr_truncated,started,batch_id,request_id"
)


@dataclass(frozen=True)
class Send:
    """Send the request, and return the answer with its body."""

    request: httpx.Request


@dataclass(frozen=True)
class Open:
    """Send the request, and return the answer before its body, unless it is an error."""

    request: httpx.Request


@dataclass(frozen=True)
class Read:
    """Return the next bytes of the opened answer; None at its end."""


@dataclass(frozen=True)
class Pause:
    seconds: float


@dataclass(frozen=True)
class Emit(Generic[Emitted]):
    """Hand this to the caller."""

    value: Emitted


Step = Send | Open | Read | Pause
Flow = Generator[Step, Any, T]
Stream = Generator[Step | Emit[T], Any, None]
Named = str | uuid.UUID | Execution


class Filters(TypedDict, total=False):
    """What `search` looks for; all must match."""

    client: str
    """Name of a client, for callers who see all executions."""
    runtime: str
    status: str
    outcome: str
    labels: Mapping[str, str]
    batch: str
    request_id: str
    queued_after: datetime | str
    queued_before: datetime | str
    min_duration_ms: int
    max_duration_ms: int
    ordering: str
    """`-queued_at` by default: newest first."""
    fields: Iterable[str]
    """Fields to return. By default all but the large ones: name `stdout` to get it."""


class Flows:
    """The operations, for one platform and token."""

    def __init__(self, url: str, token: str, *, timeout: float, retries: Retries) -> None:
        self.url = url.rstrip("/")
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

        `timeout`: seconds to wait. Raises WaitTimeout then; the run continues. To bound the run, send
        `limits={"wall_time_ms": 2000}`. Calling it twice with one `idempotency_key` runs the program once.
        """
        deadline = _deadline(timeout)
        execution = yield from self._submit(code, program, idempotency_key, wait=_poll(deadline))
        return (yield from self._until_ended(execution, deadline))

    def submit(
        self, code: str | None = None, /, *, idempotency_key: str | None = None, **program: Unpack[Program]
    ) -> Flow[Execution]:
        """Submit a program and return the execution at once; `wait` and `stream` follow it."""
        return (yield from self._submit(code, program, idempotency_key, wait=0))

    def get(self, execution: Named) -> Flow[Execution]:
        """Return the execution as it is now."""
        return Execution.parse((yield from self._json("GET", f"/executions/{_id(execution)}")))

    def wait(self, execution: Named, *, timeout: float | None = None) -> Flow[Execution]:
        """Wait for the end and return the execution. Raises WaitTimeout after `timeout` seconds."""
        deadline = _deadline(timeout)
        first = yield from self._poll(f"/executions/{_id(execution)}", _poll(deadline))
        return (yield from self._until_ended(Execution.parse(first), deadline))

    def stream(self, execution: Named, *, after: str = "") -> Stream[Event]:
        """Yield output and changes of status as they come, to the end; reconnects without losing or repeating any.

        `after`: id of the event to continue after.
        """
        path, failures = f"/executions/{_id(execution)}/events", 0
        while True:
            headers = {"Last-Event-ID": after} if after else {}
            response = yield from self._answer(Open(self._request("GET", path, headers=headers)), repeatable=True)
            if response.status_code == 204:
                return
            parser, cause = sse.Parser(), None
            try:
                while (piece := (yield Read())) is not None:
                    for message in parser.feed(piece):
                        after, failures = message.id, 0
                        if message.event == "end":
                            return
                        yield Emit(Event.parse(message.id, message.event, json.loads(message.data)))
            except httpx.TransportError as e:
                cause = e
            pause = self._retries.pause(failures)
            if failures >= self._retries.most:
                raise ConnectionFailed(f"the stream of events broke off: {cause or 'closed early'}") from cause
            failures += 1
            yield Pause(pause)

    def batch(self, programs: Iterable[str | Program], *, timeout: float | None = None) -> Flow[Batch]:
        """Run many programs, at most 1,000, and return the batch when all have ended, with their output."""
        batch = yield from self.submit_batch(programs)
        return (yield from self.wait_batch(batch, timeout=timeout))

    def submit_batch(self, programs: Iterable[str | Program]) -> Flow[Batch]:
        """Submit many programs, all or none, and return the batch at once."""
        bodies = [body_of({"code": it} if isinstance(it, str) else it) for it in programs]
        return Batch.parse((yield from self._json("POST", "/batches", body={"executions": bodies})))

    def wait_batch(self, batch: str | Batch, *, timeout: float | None = None) -> Flow[Batch]:
        """Wait until all executions of a batch have ended, and return it with their output."""
        deadline, pause = _deadline(timeout), FIRST_PAUSE_S
        path = f"/batches/{batch.id if isinstance(batch, Batch) else quote(batch, safe='')}"
        while True:
            began, asked = time.monotonic(), _poll(deadline)
            current = Batch.parse((yield from self._poll(path, asked)))
            if current.finished:
                return (yield from self._with_output(current))
            if _over(deadline):
                raise WaitTimeout(current)
            if time.monotonic() - began < asked / 2:
                yield Pause(_within(deadline, pause))
                pause = min(2 * pause, LONGEST_PAUSE_S)

    def cancel(self, execution: Named) -> Flow[Execution]:
        """Cancel an execution. Raises Conflict if it has ended."""
        return Execution.parse((yield from self._json("POST", f"/executions/{_id(execution)}/cancel")))

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
        for raw in (yield from self._json("GET", path)):
            if wanted is not None and raw["name"] not in wanted:
                continue
            data = None
            if content:
                request = self._request("GET", f"{path}/{quote(raw['name'], safe='')}")
                data = (yield from self._answer(Send(request), repeatable=True)).content
            found.append(Artifact(raw["name"], raw["size"], raw["content_type"], data))
        return Artifacts(found)

    def search(
        self, words: str = "", *, limit: int | None = None, **filters: Unpack[Filters]
    ) -> Stream[Execution]:
        """Yield the executions that match, newest first, page by page; `limit` of them at most.

        `words`: looked for in code and output of ended executions; "a phrase", `-word` and `or` work.
        """
        request = self._request("GET", "/executions", params=_query(words, filters, limit))
        count = 0
        while True:
            page = _parsed((yield from self._answer(Send(request), repeatable=True)))
            for raw in page["results"]:
                if count == limit:
                    return
                count += 1
                yield Emit(Execution.parse(raw))
            if not page["next"] or count == limit:
                return
            request = self._request("GET", page["next"].removeprefix("/api/v1"))

    def runtimes(self) -> Flow[list[Runtime]]:
        """Return the languages of the platform, disabled ones too."""
        return [Runtime.parse(raw) for raw in (yield from self._json("GET", "/runtimes"))]

    def me(self) -> Flow[Caller]:
        """Return who the token belongs to."""
        return Caller.parse((yield from self._json("GET", "/me")))

    # What the operations are made of.

    def _submit(self, code: str | None, program: Program, key: str | None, *, wait: float) -> Flow[Execution]:
        if code is not None:
            program["code"] = code
        body = body_of(program)
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        body["wait"] = wait
        request = self._request("POST", "/executions", body=body, headers=headers, wait=wait)
        return Execution.parse(_parsed((yield from self._answer(Send(request), repeatable=True))))

    def _until_ended(self, execution: Execution, deadline: float | None) -> Flow[Execution]:
        pause = FIRST_PAUSE_S
        while not execution.ended:
            if _over(deadline):
                raise WaitTimeout(execution)
            began, asked = time.monotonic(), _poll(deadline)
            execution = Execution.parse((yield from self._poll(f"/executions/{execution.id}", asked)))
            # Answered early: the platform has no place for another request that waits.
            if not execution.ended and time.monotonic() - began < asked / 2:
                yield Pause(_within(deadline, pause))
                pause = min(2 * pause, LONGEST_PAUSE_S)
        return execution

    def _with_output(self, batch: Batch) -> Flow[Batch]:
        """Return the batch with its executions read again, page by page: a batch's own answer has no output."""
        filters: Filters = {"batch": batch.id, "fields": RESULT_FIELDS.split(",")}
        read = {it.id: it for it in (yield from collected(self.search(**filters)))}
        return Batch(batch.id, batch.finished, batch.counts, tuple(read.get(it.id, it) for it in batch.executions))

    def _poll(self, path: str, wait: float) -> Flow[Any]:
        request = self._request("GET", path, params={"wait": f"{wait:.3f}"}, wait=wait)
        return _parsed((yield from self._answer(Send(request), repeatable=True)))

    def _json(self, method: str, path: str, *, body: Any = None) -> Flow[Any]:
        request = self._request(method, path, body=body)
        return _parsed((yield from self._answer(Send(request), repeatable=method == "GET")))

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
        return httpx.Request(
            method,
            f"{self.url}/api/v1{path}",
            params=params,
            json=body,
            headers={**self._headers, **(headers or {})},
            extensions={"timeout": timeout.as_dict()},
        )

    def _answer(self, step: Send | Open, *, repeatable: bool) -> Flow[httpx.Response]:
        """Return the answer of success, after retries. Raises ConnectionFailed and what errors.error_of() returns."""
        attempt = 0
        while True:
            try:
                response: httpx.Response = yield step
            except httpx.TransportError as e:
                pause = self._retries.after_failure(attempt, e, repeatable=repeatable)
                if pause is None:
                    raise ConnectionFailed(f"{self.url}: {e or type(e).__name__}") from e
            else:
                if response.is_success:
                    return response
                error = error_of(response)
                pause = self._retries.after_refusal(attempt, error)
                if pause is None:
                    raise error
            attempt += 1
            yield Pause(pause)


def emitting(flow: Flow[T]) -> Stream[T]:
    """Turn a flow into a stream of its only result."""
    yield Emit((yield from flow))


def collected(stream: Stream[T]) -> Flow[list[T]]:
    """Turn a stream into a flow that returns all of it."""
    found: list[T] = []
    answer: Any = None
    error: Exception | None = None
    while True:
        try:
            step = stream.throw(error) if error else stream.send(answer)
        except StopIteration:
            return found
        answer = error = None
        if isinstance(step, Emit):
            found.append(step.value)
            continue
        try:
            answer = yield step
        except httpx.TransportError as e:
            error = e


def _parsed(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as e:
        raise UnexpectedAnswer(f"{response.request.url}: not JSON") from e


def _id(execution: Named) -> str:
    return quote(execution.id if isinstance(execution, Execution) else str(execution), safe="")


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _within(deadline: float | None, seconds: float) -> float:
    return seconds if deadline is None else max(0.0, min(seconds, deadline - time.monotonic()))


def _poll(deadline: float | None) -> float:
    return _within(deadline, LONGEST_POLL_S)


def _over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


def _query(words: str, filters: Filters, limit: int | None) -> list[tuple[str, str]]:
    query = [("limit", str(PAGE if limit is None else max(1, min(limit, PAGE))))]
    if words:
        query.append(("q", words))
    for name, value in filters.items():
        if isinstance(value, Mapping):
            query += [("label", f"{label}:{wanted}") for label, wanted in value.items()]
        elif isinstance(value, datetime):
            query.append((name, value.isoformat()))
        elif isinstance(value, Iterable) and not isinstance(value, str):
            query.append((name, ",".join(value)))
        elif value is not None:
            query.append((name, str(value)))
    return query
