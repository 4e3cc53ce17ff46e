"""Output of a running program in its colours: the same painter as the page of an ended one."""

import json
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from executions import event_stream
from executions.admin import ansi
from executions.admin.watching import PaintedEvents
from executions.models import Execution
from tests.api.v1.test_events import StoppableHub

MakeExecution = Callable[..., Execution]
COLOURED = "\x1b[1;31mred\x1b[0m and \x1b[2K\x1b]0;title\x07plain"
ALL = [("ansi-b ansi-fg-red", "red"), ("", " and plain")]


def joined(pieces: list[ansi.Piece]) -> list[ansi.Piece]:
    """Neighbours of one style as one piece."""
    found: list[ansi.Piece] = []
    for classes, text in pieces:
        if found and found[-1][0] == classes:
            found[-1] = (classes, found[-1][1] + text)
        else:
            found.append((classes, text))
    return found


@pytest.mark.parametrize("cut", range(1, len(COLOURED)))
def test_a_colour_code_may_be_cut_anywhere(cut: int) -> None:
    painter = ansi.Painter()
    assert joined(painter.paint(COLOURED[:cut]) + painter.paint(COLOURED[cut:]) + painter.finish()) == ALL


def test_a_colour_holds_until_the_next() -> None:
    painter = ansi.Painter()
    painter.paint("\x1b[32m")
    assert painter.paint("green") == [("ansi-fg-green", "green")]


def test_what_never_becomes_a_code_is_shown_at_the_end() -> None:
    painter = ansi.Painter()
    assert painter.paint("a\x1b[3") == [("", "a")]
    assert painter.finish() == [("", "\x1b[3")]


def test_a_stream_has_no_more_pieces_than_a_page() -> None:
    painter = ansi.Painter()
    pieces = [piece for _ in range(20) for piece in painter.paint("\x1b[31ma" * 1000)]
    assert len(pieces) <= ansi.MOST_PIECES + 20
    assert "".join(text for _, text in pieces) == "a" * 20_000


def test_plain_text_has_no_codes() -> None:
    assert ansi.plain(COLOURED) == "red and plain"


def told(execution: Execution, stream: str) -> list[ansi.Piece]:
    events = b"".join(PaintedEvents(execution.pk)).decode().split("\n\n")
    lines = [event.splitlines() for event in events]
    return [
        (classes, text)
        for event in lines
        for name, data in pairwise(event)
        if name == f"event: {stream}"
        for classes, text in json.loads(data.removeprefix("data: "))["pieces"]
    ]


@pytest.fixture
def hub(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    it = StoppableHub()
    monkeypatch.setattr(event_stream, "hub", it)
    yield
    it.stop()


def test_watchers_get_pieces_by_colour(hub: None, make_execution: MakeExecution) -> None:
    execution = make_execution(stdout=COLOURED, stderr="<b>")
    assert joined(told(execution, "stdout")) == ALL
    assert told(execution, "stderr") == [("", "<b>")]
