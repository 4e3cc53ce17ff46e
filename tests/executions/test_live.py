"""What a running program writes, on its way into the rows that watchers read."""

import random
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from executions import live, reaper, services
from executions.live import CHUNK_CHARACTERS, Feed, Writer
from executions.models import Execution, OutputChunk
from sandbox_platform.kit.notify import PROGRESS, WATCHED, Listener, notify
from sandboxes.session import Report
from tests.live import eventually

LIMIT = 1 << 20
MakeExecution = Callable[..., Execution]
ALL_SORTS = "aä€😀".encode() + b"\xff\xf0\x9f\0\xc3(\xed\xa0\x80"


@pytest.fixture
def execution(transactional_db: None, make_execution: MakeExecution) -> Execution:
    return make_execution(status="running")


def report(stdout: bytes = b"", stderr: bytes = b"") -> Report:
    return Report(started_at=timezone.now(), stdout=bytearray(stdout), stderr=bytearray(stderr))


def text_of(execution: Execution, stream: str = "stdout") -> str:
    return "".join(
        OutputChunk.objects.filter(execution_id=execution.pk, stream=stream).values_list("text", flat=True)
    )


def test_output_is_written_once_and_with_its_position(execution: Execution) -> None:
    feed = Feed(execution.pk, LIMIT)
    feed.report = report(b"one ", b"oops")
    feed.write()
    feed.write()
    feed.report.stdout += b"two"
    feed.write()
    rows = OutputChunk.objects.values_list("stream", "start", "end", "text")
    assert list(rows) == [("stdout", 0, 4, "one "), ("stderr", 0, 4, "oops"), ("stdout", 4, 7, "two")]


def test_nothing_new_writes_nothing(execution: Execution) -> None:
    feed = Feed(execution.pk, LIMIT)
    feed.report = report()
    feed.write()
    assert not OutputChunk.objects.exists()


@pytest.mark.parametrize("seed", range(20))
def test_pieces_make_the_text_that_the_row_will_hold(execution: Execution, seed: int) -> None:
    chance = random.Random(seed)
    raw = bytes(chance.choice(ALL_SORTS) for _ in range(400)) + ALL_SORTS
    feed = Feed(execution.pk, LIMIT)
    feed.report = report()
    while raw:
        size = chance.randint(1, 60)
        feed.report.stdout += raw[:size]
        raw = raw[size:]
        feed.write()
    stored = services.db_text(feed.report.stdout.decode("utf-8", "replace"))
    # A character that may still become whole is held back: the end brings it.
    assert stored.startswith(text_of(execution))
    assert len(stored) - len(text_of(execution)) <= 1


def test_no_more_than_the_limit_is_written(execution: Execution) -> None:
    feed = Feed(execution.pk, 10)
    feed.report = report(b"x" * 11)
    feed.write()
    assert text_of(execution) == "x" * 10


def test_much_output_at_once_is_written_in_pieces(execution: Execution) -> None:
    feed = Feed(execution.pk, LIMIT)
    feed.report = report(b"x" * (CHUNK_CHARACTERS + 1))
    feed.write()
    assert [chunk.end - chunk.start for chunk in OutputChunk.objects.all()] == [CHUNK_CHARACTERS, 1]


def test_watchers_are_told(execution: Execution) -> None:
    feed = Feed(execution.pk, LIMIT)
    feed.report = report(b"x")
    with Listener(PROGRESS) as listener:
        feed.write()
        assert [heard.payload for heard in listener.wait(60)] == [str(execution.pk)]


def test_what_could_not_be_written_goes_with_the_next(
    execution: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(execution.pk, LIMIT)
    feed.report = report(b"one ")
    with monkeypatch.context() as broken:
        broken.setattr(live, "PUT", "SELECT 1 / 0")
        with pytest.raises(Exception, match="placeholder|argument|format"):
            feed.write()
    feed.report.stdout += b"two"
    feed.write()
    assert list(OutputChunk.objects.values_list("start", "text")) == [(0, "one two")]


# --- The thread ---


@pytest.fixture
def writer() -> Iterator[Writer]:
    it = Writer()
    yield it
    it.close()


class StubFeed(Feed):
    """Does what it is told when it is to be written."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.pending = threading.Event()
        self.write = act  # type: ignore[method-assign]


def test_an_offer_does_not_wait_for_a_postgres_that_hangs(writer: Writer) -> None:
    back = threading.Event()
    writes = []
    feed = StubFeed(lambda: (writes.append(1), back.wait(30)))
    for _ in range(100):
        writer.offer(feed)
    back.set()
    eventually(lambda: writer._queue.empty(), "the queue is empty")
    assert len(writes) <= 2


def test_a_failing_postgres_does_not_end_the_writer(writer: Writer) -> None:
    def fail() -> None:
        raise OperationalError

    written = threading.Event()
    writer.offer(StubFeed(fail))
    writer.offer(StubFeed(written.set))
    assert written.wait(60)


def test_a_session_s_output_reaches_the_rows(execution: Execution, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Writer()
    monkeypatch.setattr(live, "writer", lambda: own)
    try:
        with live.output(execution.pk, LIMIT) as watch:
            watch(report(b"hello"))
            eventually(lambda: text_of(execution) == "hello", "the chunk is there")
    finally:
        own.close()
    connection.close()


def test_after_the_end_nothing_is_written(execution: Execution) -> None:
    feed = Feed(execution.pk, LIMIT)
    feed.report = report(b"x")
    feed.over = True
    feed.write()
    assert not OutputChunk.objects.exists()


# --- What is left of it ---


@pytest.mark.parametrize(
    ("status", "age", "swept"),
    [("succeeded", 5, 1), ("succeeded", 0, 0), ("running", 5, 0), ("queued", 5, 0)],
)
def test_only_old_output_of_ended_executions_is_swept(
    make_execution: MakeExecution, status: str, age: int, swept: int
) -> None:
    execution = make_execution(status=status)
    OutputChunk.objects.create(execution_id=execution.pk, stream="stdout", start=0, end=1, text="x")
    OutputChunk.objects.update(created_at=timezone.now() - timedelta(minutes=age))
    assert reaper.sweep_output() == swept


def test_output_of_an_execution_that_is_gone_is_swept(db: None) -> None:
    OutputChunk.objects.create(execution_id=uuid.uuid4(), stream="stdout", start=0, end=1, text="x")
    OutputChunk.objects.update(created_at=timezone.now() - timedelta(minutes=5))
    assert reaper.sweep_output() == 1


@pytest.mark.parametrize("mine", [True, False])
def test_watcher_of_this_execution_is_noticed(execution: Execution, mine: bool) -> None:
    watched = Feed(execution.pk, LIMIT)
    watched.report = report()
    writer = Writer()

    def is_noticed(feed: Feed) -> bool:
        # Again and again, because the writer may not listen yet.
        notify(WATCHED, str(execution.pk))
        writer.offer(feed)
        return feed.watched

    try:
        eventually(lambda: is_noticed(watched), "the watcher is noticed")
        other = Feed(execution.pk if mine else uuid.uuid4(), LIMIT)
        other.report = report()
        for _ in range(5):
            is_noticed(other)
        eventually(lambda: not other.pending.is_set(), "the writer has looked")
        if mine:
            eventually(lambda: is_noticed(other), "the watcher is noticed")
        assert other.watched is mine
    finally:
        writer.close()
