"""What `sandbox mcp` makes of messages and of faults; what it does on a real platform: test_mcp_live."""

import json
from collections.abc import AsyncIterator, Iterator

import anyio
import httpx
import pytest
from sandbox_client import Retries

from tests.clients_python.desk import (
    BEFORE,
    NOW,
    SESSION,
    Desk,
    Json,
    answering,
    cancelling,
    hanging,
    request,
    result,
)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Retries, "pause", staticmethod(lambda attempt: 0.0))
    yield


@pytest.mark.parametrize(
    ("name", "header"), [("run_code", "run_code"), ("läuft", "=?base64?bMOkdWZ0?="), (" a", "=?base64?IGE=?=")]
)
def test_a_request_goes_as_it_came_with_the_headers_of_the_newest_revision(name: str, header: str) -> None:
    desk = Desk(answering({"ok": True}))
    line = json.dumps(request("a", name=name, text="ä\u2028"), ensure_ascii=False).encode()

    async def conversation(desk: Desk) -> None:
        await desk.say(line + b"\r\n")
        assert (await desk.hear()) == {"jsonrpc": "2.0", "id": "a", "result": {"ok": True}}

    assert desk.talk(conversation) == []
    (sent,) = desk.seen
    assert (str(sent.url), sent.content) == ("http://platform/mcp", line)
    found = {name: sent.headers.get(name) for name in ("Authorization", "MCP-Protocol-Version", "Mcp-Method")}
    assert list(found.values()) == ["Bearer t", NOW, "tools/call"]
    assert sent.headers["Mcp-Name"] == header
    assert "Mcp-Session-Id" not in sent.headers


def test_requests_of_older_revisions_wait_for_the_session_and_carry_it() -> None:
    desk = Desk(answering({"ok": True}))

    async def conversation(desk: Desk) -> None:
        await desk.say(request(0, "initialize", modern=False), request(1, modern=False))
        assert [(await desk.hear())["id"], (await desk.hear())["id"]] == [0, 1]

    desk.talk(conversation)
    first, second = desk.seen
    assert not {"mcp-session-id", "mcp-protocol-version"} & set(first.headers)
    assert (second.headers["Mcp-Session-Id"], second.headers["MCP-Protocol-Version"]) == (SESSION, BEFORE)
    assert "Mcp-Method" not in second.headers


async def events(*messages: Json, breaks: bool = False) -> AsyncIterator[bytes]:
    yield b": still here\n\n"
    for it in messages:
        # An indented message, as a server may send it: on stdout it must be one line.
        lines = json.dumps(it, indent=1).split("\n")
        yield b"event: message\n" + b"".join(b"data: " + line.encode() + b"\n" for line in lines) + b"\n"
    if breaks:
        raise httpx.ReadError("gone")


def streamed(*messages: Json, breaks: bool = False) -> httpx.Response:
    headers = {"Content-Type": "text/event-stream"}
    return httpx.Response(200, headers=headers, content=events(*messages, breaks=breaks))


PROGRESS: Json = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
DONE: Json = {"jsonrpc": "2.0", "id": 1, "result": {"ok": True}}


def test_progress_comes_before_the_answer() -> None:
    async def conversation(desk: Desk) -> None:
        assert await desk.ask(request(1)) == PROGRESS
        assert await desk.hear() == DONE

    Desk(answering(streamed(PROGRESS, DONE))).talk(conversation)


def test_requests_do_not_wait_for_each_other() -> None:
    async def conversation(desk: Desk) -> None:
        await desk.say(request(1))
        assert (await desk.ask(request(2, "tools/list")))["id"] == 2

    Desk(hanging).talk(conversation)


REFUSED = {"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": "No.", "data": {"status": 0}}}
FAULTS: dict[str, tuple[httpx.Response | Exception, str, float | None]] = {
    "401": (httpx.Response(401, json=REFUSED), "No. Log in with `sandbox login http://platform`.", None),
    "429": (httpx.Response(429, json=REFUSED, headers={"Retry-After": "9"}), "No. Try again in 9 s.", 9),
    "503": (httpx.Response(503, json=REFUSED, headers={"Retry-After": "7"}), "No. Try again in 7 s.", 7),
    "proxy": (httpx.Response(502, text="<html>"), "Bad Gateway", 5),
    "stranger": (httpx.Response(200, text="<html>"), "no answer of MCP", None),
    "no platform": (httpx.Response(404, text="<html>"), "http://platform/mcp: Not Found", None),
    "connection": (httpx.ConnectError("refused"), "refused. The platform cannot be reached. Try again in 5 s.", 5),
}


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_the_request_s_error_with_the_time_to_retry(fault: str, modern: bool) -> None:
    answer, text, after = FAULTS[fault]
    desk = Desk(answering(*[answer] * 3))

    async def conversation(desk: Desk) -> None:
        if not modern:
            await desk.greet()
        heard = await desk.ask(request("x", modern=modern))
        assert (heard["id"], heard["error"]["code"]) == ("x", -32000)
        assert text in heard["error"]["message"]
        assert heard["error"].get("data", {}).get("retry_after_s") == after

    desk.talk(conversation)
    assert text in desk.logged[-1]
    # What was not sent is sent again; what was refused is not.
    assert desk.methods().count("tools/call") == (3 if fault == "connection" else 1)


def test_errors_of_the_platform_are_passed_on_as_they_are() -> None:
    error = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "There is no tool."}}

    async def conversation(desk: Desk) -> None:
        assert await desk.ask(request(1)) == error

    Desk(answering(httpx.Response(400, json=error))).talk(conversation)


def test_a_login_while_it_runs_counts() -> None:
    tokens = iter(["old", "new"])
    desk = Desk(answering(httpx.Response(401, json=REFUSED), {"ok": True}), token=lambda: next(tokens))

    async def conversation(desk: Desk) -> None:
        assert (await desk.ask(request(1)))["result"] == {"ok": True}

    desk.talk(conversation)
    assert [it.headers["Authorization"] for it in desk.seen] == ["Bearer old", "Bearer new"]


@pytest.mark.parametrize("lost", [httpx.ReadError("gone"), streamed(PROGRESS, breaks=True), streamed(PROGRESS)])
def test_a_lost_call_is_sent_again_only_where_its_run_is_found_again(lost: httpx.Response | Exception) -> None:
    async def older(desk: Desk) -> None:
        await desk.greet()
        heard = await desk.ask(request(1, modern=False))
        assert (heard if "id" in heard else await desk.hear()) == DONE

    async def newest(desk: Desk) -> None:
        heard = await desk.ask(request(1))
        heard = heard if "id" in heard else await desk.hear()
        assert "and with it a run that had begun. Try again in 5 s." in heard["error"]["message"]

    desk = Desk(answering(lost, DONE["result"]))
    desk.talk(older)
    assert desk.methods() == ["initialize", "tools/call", "tools/call"]
    assert desk.seen[1].content == desk.seen[2].content

    if isinstance(lost, httpx.Response):
        lost = httpx.ReadError("gone")  # a stream is read once
    desk = Desk(answering(lost))
    desk.talk(newest)
    assert desk.methods() == ["tools/call"]


def test_cancelling_closes_the_connection_in_the_newest_revision() -> None:
    async def conversation(desk: Desk) -> None:
        await desk.say(request(1), request("1"))
        await desk.until(lambda: len(desk.seen) == 2)
        await desk.say(cancelling(1))
        await desk.until(lambda: desk.closed == [1])
        assert (await desk.ask(request(2, "ping")))["id"] == 2

    desk = Desk(hanging)
    assert desk.talk(conversation) == []
    assert desk.methods() == ["tools/call", "tools/call", "ping"]
    assert desk.closed == [1, "1"]


def test_cancelling_notifies_until_the_platform_ends_the_request_in_older_revisions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sandbox_client.cli.bridge.CANCEL_PAUSES_S", (0.01,) * 1000)
    notified = 0

    async def handler(sent: httpx.Request) -> httpx.Response:
        nonlocal notified
        if "id" not in json.loads(sent.content):
            assert sent.headers["Mcp-Session-Id"] == SESSION
            notified += 1
            return httpx.Response(202)
        while notified < 3:  # the run is not known before
            await anyio.sleep(0.01)
        return httpx.Response(200, json=result(sent))

    async def conversation(desk: Desk) -> None:
        await desk.greet()
        await desk.say(request(1, modern=False))
        await desk.until(lambda: len(desk.seen) == 2)
        await desk.say(cancelling(1))
        await desk.until(lambda: notified >= 3)

    desk = Desk(handler)
    assert desk.talk(conversation) == []  # its answer is not wanted any more
    assert json.loads(desk.seen[2].content) == cancelling(1)


def test_a_call_that_was_answered_with_an_open_run_is_cancelled_too() -> None:
    desk = Desk(answering({"ok": True}))

    async def conversation(desk: Desk) -> None:
        await desk.greet()
        await desk.ask(request(1, modern=False))
        await desk.say(cancelling(1))
        await desk.until(lambda: len(desk.seen) == 3)

    desk.talk(conversation)
    assert desk.methods()[-1] == "notifications/cancelled"


@pytest.mark.parametrize("modern", [True, False])
def test_the_end_of_stdin_cancels_calls_and_awaits_other_answers(
    modern: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox_client.cli.bridge.END_S", 30)  # a busy machine may need more than three seconds
    notified: list[httpx.Request] = []

    async def handler(sent: httpx.Request) -> httpx.Response:
        if "id" not in json.loads(sent.content):
            notified.append(sent)
            return httpx.Response(202)
        while not (notified or desk.closed):
            await anyio.sleep(0.01)
        return httpx.Response(200, json=result(sent))

    desk = Desk(handler)

    async def conversation(desk: Desk) -> None:
        await desk.greet()
        await desk.say(request(1, modern=modern), request(2, "tools/list", modern=modern))
        await desk.until(lambda: len(desk.seen) == 3)

    assert [it["id"] for it in desk.talk(conversation)] == [2]
    assert desk.closed == ([1] if modern else [])
    if not modern:
        assert json.loads(notified[0].content)["params"]["requestId"] == 1
        assert notified[0].headers["Mcp-Session-Id"] == SESSION


def test_a_client_that_takes_no_answers_ends_the_bridge() -> None:
    async def conversation(desk: Desk) -> None:
        await desk.say(request(1))
        await desk.until(lambda: desk.seen)
        desk.is_deaf = True
        await desk.say(request(2, "ping"))
        await desk.until(lambda: desk.closed == [1])

    desk = Desk(hanging)
    assert desk.talk(conversation) == []
    assert desk.bridge.is_deaf


@pytest.mark.parametrize(
    ("line", "code"), [(b"{", -32700), (b"\xff\n", -32700), (b"[]\n", -32600), (b"[" * 100_000, -32700)]
)
def test_what_is_no_message_is_refused_here(line: bytes, code: int) -> None:
    async def conversation(desk: Desk) -> None:
        await desk.say(b"\n", {"jsonrpc": "2.0", "id": 5, "result": {}}, line)
        heard = await desk.hear()
        assert (heard["id"], heard["error"]["code"]) == (None, code)

    desk = Desk(answering())
    desk.talk(conversation)
    assert desk.seen == []


def test_a_token_that_no_header_can_carry_is_an_error() -> None:
    async def conversation(desk: Desk) -> None:
        assert (await desk.ask(request(1)))["error"]["code"] == -32000

    Desk(answering(), token=lambda: "ä").talk(conversation)
