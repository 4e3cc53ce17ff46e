"""Waiting for a run: at once, with progress, until nobody is there any more."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from api.mcp import waiting
from executions import places, services
from executions.models import Execution, Outcome, Status
from executions.verdict import Verdict
from executions.waiting import GaveUp, Waiter
from tests.api.mcp.conftest import Mcp
from tests.live import eventually

pytestmark = pytest.mark.django_db(transaction=True)
RUN = {"language": "python", "code": "print(1)"}
DONE = Verdict(Status.SUCCEEDED, Outcome.COMPLETED, exit_code=0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROGRESS_S", "PROGRESS_EVERY_S", "KEEP_ALIVE_S"):
        monkeypatch.setattr(waiting, name, 0.1)


def end_of(pk: Any) -> None:
    assert services.finish(pk, DONE)


def ending_soon(seconds: float = 0.05) -> threading.Thread:
    """Ends the one run that there will be."""

    def end() -> None:
        while not (pk := Execution.objects.values_list("pk", flat=True).first()):
            time.sleep(0.01)
        time.sleep(seconds)
        end_of(pk)

    thread = threading.Thread(target=end)
    thread.start()
    return thread


def events(answer: Any) -> Iterator[Any]:
    """The messages of a stream, None for a comment."""
    for part in answer.streaming_content:
        lines = part.decode().splitlines()
        yield json.loads(lines[1].removeprefix("data: ")) if lines[0] == "event: message" else None


def is_free() -> bool:
    return not places.waits._held.total()


def test_run_that_ends_soon_is_answered_with_json(mcp: Mcp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "KEEP_ALIVE_S", 30.0)
    thread = ending_soon()
    done = mcp.call("run_code", **RUN)
    thread.join()
    assert (done["structuredContent"]["status"], is_free()) == ("succeeded", True)


def started(mcp: Mcp, **meta: Any) -> Any:
    answer = mcp.request("tools/call", name="run_code", arguments=RUN, **({"_meta": meta} if meta else {}))
    assert answer["Content-Type"] == "text/event-stream"
    return answer


def test_long_run_reports_progress_to_whom_asks(mcp: Mcp) -> None:
    answer = started(mcp, progressToken="t")
    stream = events(answer)
    first, second = next(stream), next(stream)
    assert (first["method"], first["params"]["progressToken"]) == ("notifications/progress", "t")
    assert first["params"]["message"].startswith("queued")
    assert second["params"]["progress"] > first["params"]["progress"]
    end_of(Execution.objects.get().pk)
    *_, last = stream
    answer.close()
    assert (last["id"], last["result"]["structuredContent"]["status"]) == (mcp.number, "succeeded")
    assert is_free()


def test_others_get_comments_that_keep_the_connection(mcp: Mcp) -> None:
    answer = started(mcp)
    stream = events(answer)
    assert (next(stream), next(stream)) == (None, None)
    end_of(Execution.objects.get().pk)
    *_, last = stream
    answer.close()
    assert last["result"]["structuredContent"]["status"] == "succeeded"


@pytest.mark.parametrize("version", ["2026-07-28", "2025-11-25"])
def test_closed_stream_cancels_the_run_in_the_newest_revision_only(modern: Mcp, version: str) -> None:
    modern.version = version
    answer = started(modern)
    next(events(answer))
    answer.close()
    row = Execution.objects.get()
    assert row.status == (Status.CANCELLED if modern.version == "2026-07-28" else Status.QUEUED)
    assert (row.outcome == Outcome.CALLER_GONE) == (row.status == Status.CANCELLED)
    assert is_free()


def test_stream_closed_before_its_first_event_gives_its_place_back(modern: Mcp) -> None:
    started(modern).close()
    assert (Execution.objects.get().status, is_free()) == (Status.CANCELLED, True)


def test_stream_closed_after_its_end_cancels_nothing(modern: Mcp, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = started(modern)
    stream = events(answer)
    next(stream)
    end_of(Execution.objects.get().pk)
    cancelled: list[Any] = []
    monkeypatch.setattr(services, "cancel", cancelled.append)
    list(stream)
    answer.close()
    assert not cancelled


@pytest.mark.parametrize("version", ["2026-07-28", "2025-11-25"])
def test_lost_connection_cancels_in_the_newest_revision_only(
    modern: Mcp, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(Waiter, "wait", lambda *_, **__: GaveUp.CALLER_GONE)
    modern.version = version
    modern.request("tools/call", name="run_code", arguments=RUN)
    cancelled = Execution.objects.get().status == Status.CANCELLED
    assert (cancelled, is_free()) == (version == "2026-07-28", True)


def test_who_only_looks_cancels_nothing(modern: Mcp, monkeypatch: pytest.MonkeyPatch) -> None:
    modern.call("run_code", **RUN, wait=0)
    monkeypatch.setattr(Waiter, "wait", lambda *_, **__: GaveUp.CALLER_GONE)
    modern.request("tools/call", name="get_run", arguments={"id": str(Execution.objects.get().pk), "wait": 5})
    assert Execution.objects.get().status == Status.QUEUED


def test_wait_that_is_over_returns_the_open_run(mcp: Mcp) -> None:
    done = mcp.call("run_code", **RUN, wait=0.05)
    assert (done["structuredContent"]["status"], is_free()) == ("queued", True)


def test_cancellation_that_overtakes_its_run_finds_it(older: Mcp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "APPEARS_S", 60.0)
    older.session = "s1"

    def cancel() -> None:
        older.notify("notifications/cancelled", requestId=1)
        connection.close()

    thread = threading.Thread(target=cancel)
    thread.start()
    eventually(lambda: not is_free(), "the notification waits")
    older.call("run_code", **RUN, wait=0)
    thread.join()
    assert (Execution.objects.get().outcome, is_free()) == (Outcome.CANCEL_REQUESTED, True)


def test_cancellation_without_a_place_waits_for_nothing(older: Mcp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "waits", places.Places(1, share=0))
    monkeypatch.setattr(waiting, "APPEARS_S", 60.0)
    monkeypatch.setattr(waiting, "LOOK_AGAIN_S", None)  # no time to sleep
    older.session = "s1"
    assert older.notify("notifications/cancelled", requestId=1).status_code == 202


def test_without_a_place_the_run_is_returned_at_once(modern: Mcp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "waits", places.Places(1, share=0))
    assert modern.call("run_code", **RUN)["structuredContent"]["status"] == "queued"


def test_caller_who_takes_no_events_gets_json(modern: Mcp) -> None:
    thread = ending_soon(0.3)
    answer = modern.request("tools/call", {"Accept": "application/json"}, name="run_code", arguments=RUN)
    thread.join()
    assert answer.json()["result"]["structuredContent"]["status"] == "succeeded"
