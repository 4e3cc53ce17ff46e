"""What the client does when the platform or the way to it fails; what it does on a real one: test_client_live."""

import gzip
import json
from collections.abc import Callable, Iterator

import httpx
import pytest
from sandbox_client import (
    Artifact,
    ConnectionFailed,
    Execution,
    InvalidArgument,
    OverLimit,
    Sandbox,
    Unavailable,
    UnexpectedAnswer,
    WaitTimeout,
)
from sandbox_client.sse import Parser

from tests.clients_python.answers import answering

ENDED = {"id": "1", "status": "succeeded", "stdout": "out"}
REFUSED = {"type": "urn:sandbox-platform:problem:over_limit", "title": "", "status": 429, "detail": "Quota."}


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


def refusal(status: int, after: str | None) -> httpx.Response:
    return httpx.Response(
        status, json={**REFUSED, "status": status}, headers={"Retry-After": after} if after else {}
    )


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_with_a_time_is_tried_again_after_it(status: int, pauses: list[float]) -> None:
    seen: list[httpx.Request] = []
    sandbox = answering(refusal(status, "3"), httpx.Response(201, json=ENDED), seen=seen)
    assert sandbox.run("1").ok
    assert pauses == [3]
    first, second = (request.headers["Idempotency-Key"] for request in seen)
    assert first == second


@pytest.mark.parametrize(("status", "after"), [(429, None), (503, None), (429, "3600"), (500, "1"), (409, "1")])
def test_other_refusals_are_raised(status: int, after: str | None, pauses: list[float]) -> None:
    with pytest.raises(Exception, match=r"Quota\."):
        answering(refusal(status, after)).run("1")
    assert pauses == []


def test_the_problem_and_the_time_are_on_the_exception(pauses: list[float]) -> None:
    with pytest.raises(OverLimit) as caught:
        answering(refusal(429, "3600")).run("1")
    assert (caught.value.problem.code, caught.value.retry_after) == ("over_limit", 3600)


def test_a_lost_answer_of_a_submission_is_asked_for_again(pauses: list[float]) -> None:
    sandbox = answering(httpx.ReadError("gone"), httpx.ConnectError("no"), httpx.Response(201, json=ENDED))
    assert sandbox.run("1").stdout == "out"
    assert len(pauses) == 2


def test_a_batch_whose_answer_was_lost_is_not_sent_twice(pauses: list[float]) -> None:
    with pytest.raises(ConnectionFailed):
        answering(httpx.ReadError("gone")).submit_batch(["1"])


@pytest.mark.parametrize("status", [503, 500])
def test_a_batch_that_may_have_been_accepted_is_not_sent_twice(status: int, pauses: list[float]) -> None:
    with pytest.raises(Unavailable):
        answering(refusal(status, "1")).submit_batch(["1"])


def test_a_batch_that_a_quota_refused_is_sent_again(pauses: list[float]) -> None:
    accepted = httpx.Response(202, json={"id": "b", "finished": False, "counts": {}, "executions": []})
    assert answering(refusal(429, "1"), accepted).submit_batch(["1"]).id == "b"


@pytest.mark.parametrize("failure", [httpx.ReadError("gone"), refusal(503, "1")])
def test_a_cancellation_does_no_harm_twice(failure: httpx.Response | Exception, pauses: list[float]) -> None:
    assert answering(failure, httpx.Response(202, json=ENDED)).cancel("1").id == "1"


def test_retries_end_before_the_deadline(pauses: list[float]) -> None:
    with pytest.raises(OverLimit):
        answering(refusal(429, "30")).run("1", timeout=5)
    with pytest.raises(ConnectionFailed):
        answering(*[httpx.ConnectError("no")] * 3).wait("1", timeout=0.01)
    assert pauses == []


def test_a_retry_waits_only_until_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    seen: list[httpx.Request] = []
    answering(refusal(429, "3"), httpx.Response(201, json=ENDED), seen=seen).run("1", timeout=5)
    assert [json.loads(request.content)["wait"] for request in seen] == [5, 2]


def test_an_error_after_the_submission_names_the_run(pauses: list[float]) -> None:
    running = httpx.Response(201, json={"id": "7", "status": "running"})
    with pytest.raises(ConnectionFailed) as lost:
        answering(running, httpx.ReadError("gone"), retries=0).run("1")
    assert lost.value.submitted_id == "7"
    with pytest.raises(WaitTimeout) as waited:
        answering(running).run("1", timeout=0)
    assert waited.value.submitted_id == "7"
    with pytest.raises(Unavailable) as refused:
        answering(refusal(500, None)).run("1")
    assert refused.value.submitted_id is None


def test_an_error_after_the_submission_names_the_batch(pauses: list[float]) -> None:
    accepted = httpx.Response(202, json={"id": "b", "finished": False, "counts": {}, "executions": []})
    with pytest.raises(Unavailable) as refused:
        answering(accepted, refusal(500, None)).batch(["1"])
    assert refused.value.submitted_id == "b"


OTHERS: list[Callable[[Sandbox], object]] = [
    lambda it: it.get("1"),
    lambda it: it.run("1"),
    lambda it: it.submit_batch(["1"]),
    lambda it: it.wait_batch("1"),
    lambda it: it.artifacts("1"),
    lambda it: list(it.search()),
    lambda it: it.runtimes(),
    lambda it: it.me(),
    lambda it: it.cancel("1"),
]


@pytest.mark.parametrize("call", OTHERS)
@pytest.mark.parametrize(
    "body", ["{}", "[{}]", "[1]", '"x"', "null", '{"results": [{}]}', '{"results": []}', "<p>"]
)
def test_another_server_s_answer_is_told_as_such(call: Callable[[Sandbox], object], body: str) -> None:
    with pytest.raises(UnexpectedAnswer, match="http://platform/api/v1/"):
        call(answering(httpx.Response(200, text=body)))


@pytest.mark.parametrize("data", ["x", "3", "[]"])
def test_another_server_s_stream_is_told_as_such(data: str) -> None:
    text = f"event: message\ndata: {data}\n\n"
    with pytest.raises(UnexpectedAnswer):
        list(answering(httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})).stream("1"))


def test_a_page_in_place_of_a_stream_is_told_as_such() -> None:
    with pytest.raises(UnexpectedAnswer, match="no stream of events"):
        list(answering(httpx.Response(200, html="<p>")).stream("1"))


def test_an_answer_that_cannot_be_unpacked_is_told_as_such() -> None:
    packed = httpx.ByteStream(gzip.compress(b"{}")[:-9] + b"broken")
    with pytest.raises(UnexpectedAnswer):
        answering(httpx.Response(200, stream=packed, headers={"Content-Encoding": "gzip"})).me()


@pytest.mark.parametrize(
    "call", [lambda it: list(it.search("x" * 70_000)), lambda it: it.run("1", idempotency_key="ü")]
)
def test_what_no_request_can_carry_is_an_error_of_ours(call: Callable[[Sandbox], object]) -> None:
    with pytest.raises(InvalidArgument):
        call(answering())


def test_a_fault_of_the_platform_is_status_125() -> None:
    assert Execution.parse({"id": "1", "status": "platform_error", "exit_code": None}).exit_status == 125
    assert Execution.parse({"id": "1", "status": "failed", "exit_code": 3}).exit_status == 3


def test_output_is_shown_in_a_notebook_up_to_a_bound() -> None:
    execution = Execution.parse({"id": "1", "stdout": "<" * 100_000})
    assert len(execution._repr_html_()) < 50_000
    assert "90,000 more characters" in execution._repr_html_()


def test_retries_come_to_an_end(pauses: list[float]) -> None:
    with pytest.raises(ConnectionFailed, match="http://platform"):
        answering(*[httpx.ConnectError("no")] * 3, retries=2).me()


def test_a_proxy_s_page_is_an_error_of_its_own(pauses: list[float]) -> None:
    with pytest.raises(Unavailable, match="Bad Gateway"):
        answering(httpx.Response(502, text="<html>")).me()
    with pytest.raises(UnexpectedAnswer):
        answering(httpx.Response(200, text="<html>")).me()


def test_a_wait_that_has_no_place_does_not_ask_all_the_time(pauses: list[float]) -> None:
    running = [httpx.Response(200, json={"id": "1", "status": "running"}) for _ in range(6)]
    answering(*running, httpx.Response(200, json=ENDED)).wait("1")
    assert pauses == sorted(pauses)
    assert pauses[-1] > 1


class Broken(httpx.SyncByteStream):
    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        raise httpx.ReadError("gone")


def event(name: str, kind: str, **data: str) -> bytes:
    return f"id: {name}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def test_a_stream_that_breaks_off_continues_after_its_last_event(pauses: list[float]) -> None:
    seen: list[httpx.Request] = []
    first = httpx.Response(200, stream=Broken(event("1.0.running", "stdout", text="a"), b"id: 2.0"))
    rest = event("2.0.running", "stdout", text="b") + event("2.0.closed", "end")
    sandbox = answering(first, httpx.Response(200, content=rest), seen=seen)
    assert [it.text for it in sandbox.stream("1")] == ["a", "b"]
    assert [request.headers.get("Last-Event-ID") for request in seen] == [None, "1.0.running"]


def test_a_stream_that_was_read_to_its_end_is_empty() -> None:
    assert list(answering(httpx.Response(204)).stream("1", after="2.0.closed")) == []


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_events_are_parsed_wherever_pieces_end(size: int, ending: str) -> None:
    text = ": hello\nretry: 2\n\nid: 1\nevent: stdout\ndata: {é}\ndata:b\n\ndata: c\n\n:\n".replace("\n", ending)
    parser, raw = Parser(), text.encode()
    found = [it for start in range(0, len(raw), size) for it in parser.feed(raw[start : start + size])]
    assert [(it.id, it.event, it.data) for it in found] == [("1", "stdout", "{é}\nb"), ("1", "message", "c")]


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a\\..\\out"])
def test_an_artifact_stays_in_the_folder(name: str, tmp_path: object) -> None:
    path = Artifact(name, 1, "text/plain", b"x").save(str(tmp_path))
    assert (path.name, str(path.parent)) == ("out", str(tmp_path))


def test_an_artifact_without_a_name_is_refused(tmp_path: object) -> None:
    with pytest.raises(ValueError, match="not a file's name"):
        Artifact("..", 1, "text/plain", b"x").save(str(tmp_path))


def test_nothing_of_a_stranger_is_markup() -> None:
    for kind in ("text/plain", "text/csv", "image/svg+xml", "text/html"):
        shown = Artifact("<b>", 1, kind, b"<script>")._repr_html_() or ""
        assert "<script>" not in shown
        assert "<b>" not in shown
