from typing import Any

import pytest

from runtimes import smoke

PROGRAM: dict[str, Any] = {"name": "hello", "code": "print(1)", "expect": {"stdout": "1\n"}}
EXECUTION = {"status": "succeeded", "exit_code": 0, "stdout": "1\n", "stderr": "a warning\n", "result": None}


@pytest.mark.parametrize(
    ("programs", "problem"),
    [
        ({}, "must be a list"),
        ([PROGRAM] * 51, "at most 50"),
        ([[]], "smoke.0: must be a table"),
        ([PROGRAM | {"colour": "red"}], "smoke.0.colour: unknown key"),
        ([PROGRAM, {**PROGRAM, "code": 1}], "smoke.1.code: must be of type str"),
        ([{"name": "x", "code": ""}], "smoke.0.expect: is missing"),
        ([PROGRAM | {"expect": {"exit": 1}}], "smoke.0.expect.exit: unknown key"),
        ([PROGRAM | {"expect": {"exit_code": "1"}}], "smoke.0.expect.exit_code: must be of type int"),
        ([PROGRAM | {"expect": {"exit_code": True}}], "smoke.0.expect.exit_code: must be of type int"),
        ([PROGRAM, PROGRAM], "'hello' is used twice"),
    ],
)
def test_program_that_is_no_smoke_program_is_named(programs: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        smoke.check(programs)


def test_program_without_a_word_on_the_status_must_succeed() -> None:
    found = smoke.disagreements(PROGRAM, EXECUTION | {"status": "failed"}, [])
    assert found == ['status is "failed", not "succeeded"']


def test_standard_error_must_hold_what_is_expected() -> None:
    program = PROGRAM | {"expect": {"stderr": "warning"}}
    assert smoke.disagreements(program, EXECUTION, []) == []
    assert smoke.disagreements(program, EXECUTION | {"stderr": "none"}, []) != []


def test_artifacts_must_be_those_that_are_expected() -> None:
    program = PROGRAM | {"expect": {"artifacts": ["a.txt"]}}
    assert smoke.disagreements(program, EXECUTION, ["a.txt"]) == []
    assert smoke.disagreements(program, EXECUTION, []) != []


def test_a_long_value_is_told_in_part() -> None:
    (found,) = smoke.disagreements(PROGRAM, EXECUTION | {"stdout": "x" * 10_000}, [])
    assert len(found) < 300
    assert found.endswith('…, not "1\\n"')


@pytest.mark.parametrize(
    ("fields", "succeeds", "is_pure"),
    [
        ({}, True, False),
        ({"mode": "function"}, True, True),
        ({"mode": "function", "files": {"a": "b"}}, True, False),
        ({"mode": "function", "expect": {"artifacts": []}}, True, False),
        ({"expect": {"status": "succeeded"}}, True, False),
        ({"expect": {"status": "timed_out"}}, False, False),
    ],
)
def test_what_a_program_says_of_a_filter(fields: dict[str, Any], succeeds: bool, is_pure: bool) -> None:
    program = PROGRAM | fields
    assert (smoke.succeeds(program), smoke.is_pure(program)) == (succeeds, is_pure)


def test_submission_is_a_body_for_the_api() -> None:
    program = PROGRAM | {"files": {"a/b": "c"}, "argv": ["x"]}
    assert smoke.submission(program, "python") == {
        "runtime": "python",
        "code": "print(1)",
        "argv": ["x"],
        "files": [{"path": "a/b", "content": "c"}],
    }
