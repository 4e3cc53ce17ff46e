from collections import Counter
from typing import Any

import pytest

from bench.chaos.judging import unrecorded


class Load:
    """Execution `a` is visitor `l/0`; `b` goes nowhere."""

    accepted = {"a": 0, "b": 1}

    def __init__(self, **visits: int) -> None:
        self._visits = Counter({who.replace("_", "/"): number for who, number in visits.items()})

    def visitor(self, number: int) -> str:
        return "l/0" if number == 0 else ""

    def visits(self) -> Counter[str]:
        return self._visits


@pytest.mark.parametrize("visits, recorded", [({}, {}), ({"l_0": 1}, {"a": 1}), ({}, {"a": 1})])
def test_visits_that_are_recorded_are_right(visits: dict[str, int], recorded: dict[str, int]) -> None:
    load: Any = Load(**visits)
    assert unrecorded(load, recorded) == []


@pytest.mark.parametrize(
    ("visits", "recorded", "said"),
    [
        ({"l_0": 1}, {}, "1 visits of l/0, 0 recorded"),
        ({"l_0": 2}, {"a": 1}, "2 visits of l/0, 1 recorded"),
        ({"l_0": 1}, {"b": 1}, "1 visits of l/0, 0 recorded"),
        ({"l_8": 1}, {"a": 1}, "1 visits of l/8, 0 recorded"),
    ],
)
def test_a_visit_without_a_row_of_its_execution_is_found(
    visits: dict[str, int], recorded: dict[str, int], said: str
) -> None:
    load: Any = Load(**visits)
    assert unrecorded(load, recorded) == [said]
