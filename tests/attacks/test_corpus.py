import json
from collections import Counter

import pytest

from attacks import corpus
from attacks.corpus import FAMILIES, BadCase, filled
from attacks.harness import ELSEWHERE
from attacks.weakened import WEAKNESSES

CASES = corpus.load()
VALUES = {**ELSEWHERE, "MARKER": "m1", "REKRAM": "1m"}


def test_there_are_at_least_two_hundred_and_each_family_has_many() -> None:
    count = Counter(case.family for case in CASES)
    assert len(CASES) >= 200
    assert set(count) == set(FAMILIES)
    assert min(count.values()) >= 25


def test_no_two_cases_try_the_same() -> None:
    tried = Counter(
        (case.runtime, case.program, case.request, case.arguments, case.content_type) for case in CASES
    )
    assert [attempt for attempt, number in tried.items() if number > 1] == []
    assert len({(case.family, case.name) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_has_a_core_and_a_weakness_that_names_cases(family: str) -> None:
    own = [case for case in CASES if case.family == family]
    assert any(case.core for case in own)
    assert any(case.name.startswith(WEAKNESSES[family].cases) for case in own)


def test_every_case_says_what_must_hold_in_one_line() -> None:
    assert [case.name for case in CASES if "\n" in case.holds or not case.holds.endswith(".")] == []


def test_no_name_of_an_entry_is_left_in_a_case() -> None:
    names = ("@each@", "@what@", "@how@", "@it@", "@call@", "@body@", "@json@", "@address@", "@code@")
    assert [
        c.name for c in CASES if any(name in f"{c.name}{c.program}{c.request}{c.arguments}" for name in names)
    ] == []


def test_every_body_is_json_unless_the_case_is_about_that() -> None:
    for case in CASES:
        if case.request is None:
            assert json.loads(case.body(VALUES))["runtime"] == case.runtime, case.name


def test_every_program_in_python_compiles_unless_the_case_is_about_that() -> None:
    for case in CASES:
        if case.runtime == "python" and case.tried:
            compile(filled(case.program, VALUES), case.name, "exec")
            compile(filled(case.then, VALUES), f"then of {case.name}", "exec")


def test_limits_are_lowered_to_those_of_the_runtime() -> None:
    case = next(case for case in CASES if case.runtime == "python")
    assert json.loads(case.body(VALUES, most={"python": {"wall_time_ms": 1000}}))["limits"] == {
        "wall_time_ms": 1000
    }


def test_repeated_texts_and_characters_are_filled_in() -> None:
    assert filled("@repeat([,3)@@u(d800)@@repeat(0,,2)@", {}) == "[[[\ud8000,0,"


def test_a_field_that_there_is_not_is_refused() -> None:
    with pytest.raises(BadCase, match="unknown fields: wat"):
        list(corpus._cases({"family": "escapes", "name": "x", "wat": 1}, {}))
