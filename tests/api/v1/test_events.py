"""Server-Sent Events of one execution, from rows; of a real run: test_events_live."""

import contextlib
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.http import StreamingHttpResponse
from django.test import Client as Caller
from django.utils import timezone

from clients.models import Client
from executions import event_stream, places
from executions.event_stream import Events, Position
from executions.models import Execution, Outcome, OutputChunk, Status
from executions.places import Places
from executions.waiting import Hub
from sandbox_platform.kit.notify import FINISHED, PROGRESS, notify
from tests.conftest import TOKEN
from tests.live import eventually

MakeExecution = Callable[..., Execution]
Event = tuple[str, str, dict[str, Any]]


class StoppableHub(Hub):
    """Its thread, and the thread's connection, end with the test."""

    def _wake(self, channel: str, execution_id: str) -> None:
        if execution_id == "stop":
            raise SystemExit
        super()._wake(channel, execution_id)

    def _listen(self) -> None:
        with contextlib.suppress(SystemExit):
            super()._listen()

    def stop(self) -> None:
        if self._thread is not None:
            notify(FINISHED, "stop")
            self._thread.join()


@pytest.fixture(autouse=True)
def hub(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    it = StoppableHub()
    monkeypatch.setattr(event_stream, "hub", it)
    # Nobody looks by himself: who is not woken by a notification comes too late.
    monkeypatch.setattr(event_stream, "LOOK_AGAIN_S", 600)
    yield it
    it.stop()


@pytest.fixture
def caller(client_with_token: tuple[Client, str]) -> Caller:
    return Caller(headers={"Authorization": f"Bearer {TOKEN}"})


@pytest.fixture
def mine(make_execution: MakeExecution, client_with_token: tuple[Client, str]) -> MakeExecution:
    def make(**fields: Any) -> Execution:
        return make_execution(client=client_with_token[0], **fields)

    return make


def url(execution_id: Any) -> str:
    return f"/api/v1/executions/{execution_id}/events"


def parsed(text: str) -> list[Event]:
    """Id, name and data of the events; not the comments."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            found.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return found


def stream(caller: Caller, execution: Execution, last: str = "") -> list[Event]:
    """All events of an execution that has ended."""
    response = caller.get(url(execution.pk), headers={"Last-Event-ID": last} if last else {})
    assert response.status_code == 200
    assert isinstance(response, StreamingHttpResponse)
    return parsed(b"".join(response).decode())  # type: ignore[arg-type]


def told(found: list[Event]) -> list[str]:
    return [data["status"] if name == "status" else data.get("text", name) for _, name, data in found]


def chunk(execution: Execution, start: int, text: str, name: str = "stdout") -> OutputChunk:
    return OutputChunk.objects.create(
        execution_id=execution.pk, stream=name, start=start, end=start + len(text), text=text
    )


class Watcher:
    """Reads the events of a running execution in a thread, as a web process does."""

    def __init__(self, execution: Execution, position: Position | None = None, caller: Any = None) -> None:
        self.received = b""
        self._events = Events(execution.pk, position or Position(), caller)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for event in self._events:
            self.received += event
        connection.close()

    def until(self, text: str) -> list[Event]:
        eventually(lambda: text in self.received.decode(), f"{text} is told")
        return parsed(self.received.decode())

    def ended(self) -> bool:
        self._thread.join(60)
        return not self._thread.is_alive()


@pytest.fixture
def watch(python_runtime: object) -> Iterator[Callable[..., Watcher]]:
    watchers = []

    def watch(*args: Any, **kwargs: Any) -> Watcher:
        watchers.append(Watcher(*args, **kwargs))
        return watchers[-1]

    yield watch
    Execution.objects.open().update(
        status=Status.CANCELLED, outcome=Outcome.CALLER_GONE, finished_at=timezone.now()
    )
    assert all(watcher.ended() for watcher in watchers)


def end(execution: Execution, **fields: Any) -> None:
    values = {"status": Status.SUCCEEDED, "outcome": Outcome.COMPLETED, "finished_at": timezone.now()} | fields
    Execution.objects.filter(pk=execution.pk).update(**values)


# --- After the end ---


def test_an_ended_execution_is_told_from_its_beginning(caller: Caller, mine: MakeExecution) -> None:
    execution = mine(stdout="out", stderr="err", exit_code=0, claimed_at=timezone.now())
    assert told(stream(caller, execution)) == ["queued", "running", "out", "err", "succeeded", "end"]


def test_the_last_status_says_how_it_ended(caller: Caller, mine: MakeExecution) -> None:
    execution = mine(status="failed", outcome="nonzero_exit", exit_code=3, message="Non-zero exit: status 3.")
    *_, (_, _, data), _ = stream(caller, execution)
    assert data == {
        "status": "failed",
        "outcome": "nonzero_exit",
        "message": "Non-zero exit: status 3.",
        "exit_code": 3,
        "signal": None,
        "at": execution.finished_at.isoformat(),
    }


def test_a_rejected_execution_was_never_queued(caller: Caller, mine: MakeExecution) -> None:
    assert told(stream(caller, mine(status="rejected", outcome="code_policy"))) == ["rejected", "end"]


def test_one_that_was_cancelled_in_the_queue_never_ran(caller: Caller, mine: MakeExecution) -> None:
    assert told(stream(caller, mine(status="cancelled", outcome="queue_timeout"))) == [
        "queued",
        "cancelled",
        "end",
    ]


def test_large_output_comes_in_several_events(
    caller: Caller, mine: MakeExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "EVENT_CHARACTERS", 4)
    assert told(stream(caller, mine(stdout="0123456789")))[1:4] == ["0123", "4567", "89"]


def test_line_ends_and_characters_of_all_planes_survive(caller: Caller, mine: MakeExecution) -> None:
    text = "a\r\n\n\u2028event: end\n\n😀"
    assert text in told(stream(caller, mine(stdout=text)))


@pytest.mark.parametrize("seen", range(1, 8))
def test_resuming_after_any_event_loses_and_repeats_nothing(
    caller: Caller, mine: MakeExecution, monkeypatch: pytest.MonkeyPatch, seen: int
) -> None:
    monkeypatch.setattr(event_stream, "EVENT_CHARACTERS", 2)
    execution = mine(stdout="ä€😀", stderr="xy!", claimed_at=timezone.now())
    everything = stream(caller, execution)
    assert len(everything) == 8
    assert stream(caller, execution, everything[seen - 1][0]) == everything[seen:]


def test_who_has_seen_the_end_is_told_not_to_come_back(caller: Caller, mine: MakeExecution) -> None:
    execution = mine()
    last = stream(caller, execution)[-1][0]
    assert caller.get(url(execution.pk), headers={"Last-Event-ID": last}).status_code == 204


def test_a_position_beyond_the_output_yields_the_end_only(caller: Caller, mine: MakeExecution) -> None:
    # Its worker died: what was seen live was never stored.
    execution = mine(status="platform_error", outcome="worker_lost", claimed_at=timezone.now())
    assert told(stream(caller, execution, "500.7.running")) == ["platform_error", "end"]


# --- While it runs ---


def test_a_queued_execution_is_followed_until_its_end(mine: MakeExecution, watch: Callable[..., Watcher]) -> None:
    execution = mine(status="queued")
    watcher = watch(execution)
    watcher.until("queued")
    Execution.objects.filter(pk=execution.pk).update(status="running", claimed_at=timezone.now())
    watcher.until('"running"')
    end(execution, stdout="done")
    assert told(watcher.until("event: end")) == ["queued", "running", "done", "succeeded", "end"]
    assert watcher.ended()


def test_output_is_seen_while_it_runs_and_not_again_at_the_end(
    mine: MakeExecution, watch: Callable[..., Watcher]
) -> None:
    execution = mine(status="running", claimed_at=timezone.now())
    chunk(execution, 0, "one ")
    watcher = watch(execution)
    watcher.until("one ")
    chunk(execution, 0, "err", "stderr")
    chunk(execution, 4, "twö ")
    notify(PROGRESS, str(execution.pk))
    watcher.until("tw\\u00f6")
    end(execution, stdout="one twö three", stderr="err")
    seen = told(watcher.until("event: end"))
    assert seen == ["queued", "running", "one ", "err", "twö ", "three", "succeeded", "end"]


def test_resuming_in_the_middle_of_a_chunk_yields_its_rest(
    mine: MakeExecution, watch: Callable[..., Watcher]
) -> None:
    execution = mine(status="running", claimed_at=timezone.now())
    chunk(execution, 0, "0123")
    chunk(execution, 4, "4567")
    watcher = watch(execution, Position.parse("2.0.running"))
    assert told(watcher.until("4567")) == ["23", "4567"]


def test_a_gap_is_not_skipped(mine: MakeExecution, watch: Callable[..., Watcher]) -> None:
    execution = mine(status="running", claimed_at=timezone.now())
    chunk(execution, 4, "4567")
    watcher = watch(execution, Position.parse("0.0.running"))
    time.sleep(0.3)
    end(execution, stdout="01234567")
    assert told(watcher.until("event: end")) == ["01234567", "succeeded", "end"]


def test_many_chunks_are_all_seen(mine: MakeExecution, watch: Callable[..., Watcher]) -> None:
    execution = mine(status="running", claimed_at=timezone.now())
    count = event_stream.CHUNKS_AT_ONCE * 2 + 1
    for at in range(count):
        chunk(execution, at, "x")
    assert len(told(watch(execution, Position.parse("0.0.running")).until(f"id: {count}.0.running"))) == count


def test_two_can_watch_the_same(mine: MakeExecution, watch: Callable[..., Watcher]) -> None:
    execution = mine(status="queued")
    watchers = [watch(execution), watch(execution)]
    for watcher in watchers:
        watcher.until("queued")
    end(execution)
    for watcher in watchers:
        watcher.until("event: end")


def test_silence_is_filled_with_comments(
    mine: MakeExecution, watch: Callable[..., Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "LOOK_AGAIN_S", 0.1)
    monkeypatch.setattr(event_stream, "KEEP_ALIVE_S", 0.3)
    watch(mine(status="queued")).until(": still here")


def test_a_lost_notification_is_made_good_by_looking_again(
    mine: MakeExecution, watch: Callable[..., Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "LOOK_AGAIN_S", 0.2)
    monkeypatch.setattr(event_stream, "PROGRESS", "another")
    monkeypatch.setattr(event_stream, "FINISHED", "yet_another")
    execution = mine(status="queued")
    watcher = watch(execution)
    watcher.until("queued")
    end(execution)
    watcher.until("event: end")


def test_a_caller_who_hangs_up_ends_the_stream(mine: MakeExecution, watch: Callable[..., Watcher]) -> None:
    ours, theirs = socket.socketpair()
    watcher = watch(mine(status="queued"), caller=ours)
    watcher.until("queued")
    theirs.close()
    assert watcher.ended()
    ours.close()


def test_no_connection_is_held_while_waiting(mine: MakeExecution, watch: Callable[..., Watcher]) -> None:
    # The thread's own connection: it is closed whenever an event has been yielded.
    execution = mine(status="running", claimed_at=timezone.now())
    chunk(execution, 0, "one")
    held = []
    for event in Events(execution.pk, Position()):
        held.append(connection.connection)
        if b"one" in event:
            break
    assert held == [None] * 4


def test_the_hub_forgets_who_has_left(hub: Hub) -> None:
    execution_id = uuid.uuid4()
    with hub.event([execution_id], FINISHED, PROGRESS):
        assert (FINISHED, str(execution_id)) in hub._waiting
    assert not [key for key in hub._waiting if key[1] == str(execution_id)]


# --- Who, and how many ---


def test_the_answer_is_an_event_stream_that_nobody_keeps(caller: Caller, mine: MakeExecution) -> None:
    response = caller.get(url(mine().pk), headers={"Accept": "text/event-stream"})
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Accel-Buffering"] == "no"
    response.close()


def test_without_a_token_nothing_is_told(client: Caller, mine: MakeExecution) -> None:
    assert client.get(url(mine().pk)).status_code == 401


def test_another_client_s_execution_does_not_exist(caller: Caller, make_execution: MakeExecution) -> None:
    other, _ = Client.objects.create_with_token("other")
    assert caller.get(url(make_execution(client=other).pk)).status_code == 404


def test_an_execution_of_nobody_does_not_exist_for_a_client(caller: Caller, make_execution: MakeExecution) -> None:
    assert caller.get(url(make_execution().pk)).status_code == 404


def test_an_unknown_execution_does_not_exist(caller: Caller) -> None:
    assert caller.get(url(uuid.uuid4()), headers={"Accept": "text/event-stream"}).status_code == 404


@pytest.mark.parametrize(
    "last",
    ["x", "1.2", "1.2.later", "-1.0.queued", "9999999999999.0.queued", "١.0.queued", "1.0.queued\0", "null"],
)
def test_an_id_that_was_never_sent_is_the_caller_s_mistake(caller: Caller, mine: MakeExecution, last: str) -> None:
    response = caller.get(url(mine().pk), headers={"Last-Event-ID": last})
    assert response.status_code == 422
    assert response.json()["field"] == "Last-Event-ID"


def test_a_stream_too_many_is_refused_for_a_while(
    caller: Caller, mine: MakeExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "streams", Places(1, share=1))
    execution = mine(status="queued")
    first = caller.get(url(execution.pk))
    second = caller.get(url(execution.pk))
    assert (second.status_code, second.headers["Retry-After"]) == (503, "5")
    first.close()
    third = caller.get(url(execution.pk))
    assert third.status_code == 200
    third.close()
