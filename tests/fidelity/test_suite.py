"""The suites of the languages' own tests, and what is made of a piece that differs."""

from collections.abc import Iterator

import pytest

from tests.fidelity import deviations, harness, suite
from tests.fidelity.cases import Case
from tests.fidelity.outcome import Outcome

MANY = 40
RIGHT = Outcome(exit_code=0, files={suite.OUTCOMES: b"TestA PASS\n"})
WRONG = Outcome(exit_code=1, files={suite.OUTCOMES: b"TestA FAIL\n"})

every_suite = pytest.mark.parametrize("one", suite.SUITES.values(), ids=suite.SUITES)


@every_suite
def test_many_pieces_are_listed_in_order_and_once(one: suite.Suite) -> None:
    names = [case.name for case in one.cases()]
    assert len(names) >= MANY
    assert names == sorted(set(names))


@every_suite
def test_the_program_names_its_piece(one: suite.Suite) -> None:
    case = one.cases()[0]
    assert case.name in case.program
    assert one.piece.upper() not in case.program


@every_suite
def test_only_chooses_pieces(one: suite.Suite) -> None:
    assert all("time" in case.name for case in one.cases("time"))


def test_listed_deviations_name_a_piece() -> None:
    known = {case.id for one in suite.SUITES.values() for case in one.cases()}
    assert [row.id for row in deviations.load() if row.kind == harness.SUITE and row.id not in known] == []


@pytest.fixture
def it() -> harness.Harness:
    return harness.Harness(engine=None)  # type: ignore[arg-type]  # both sides are stubs


@pytest.mark.parametrize(
    ("platform", "said", "failed"),
    [([RIGHT], 0, False), ([WRONG, RIGHT], 1, False), ([WRONG, WRONG], 1, True)],
)
def test_a_piece_that_differs_runs_once_more(
    it: harness.Harness, monkeypatch: pytest.MonkeyPatch, platform: list[Outcome], said: int, failed: bool
) -> None:
    outcomes: Iterator[Outcome] = iter(platform)
    monkeypatch.setattr(suite.through, "run", lambda *_: next(outcomes))
    monkeypatch.setattr(suite.plain, "run_all", lambda *_: {"some": RIGHT})
    lines: list[str] = []
    (verdict,) = suite.compare(it, "image", [Case("go", "some", "")], lines.append)
    assert (len(lines), verdict.failed) == (said, failed)


def test_what_else_the_tests_left_does_not_count() -> None:
    left = Outcome(files={suite.OUTCOMES: b"", "core": b"x"}, dropped=("b (too large)",))
    assert suite.outcomes_only(left) == Outcome(files={suite.OUTCOMES: b""})
