import sys
import threading
import warnings

import pytest

from runtimes.code_policy import MAX_VIOLATIONS, RULES, Violation, check

DEEP = 100_000


def test_language_without_rules_passes() -> None:
    assert check("import os; eval(", "ruby") == []


@pytest.mark.parametrize("slug", RULES)
def test_rule_is_described_for_the_administrator(slug: str) -> None:
    rule = RULES[slug]
    assert rule.slug == slug
    assert slug.startswith(rule.language + ".")
    assert rule.title and rule.description


def test_rules_are_the_documented_ones() -> None:
    assert set(RULES) == {
        "python.syntax",
        "python.import",
        "python.call",
        "python.attribute",
        "python.function-definition",
        "python.assignment",
        "python.constant-operation",
        "python.lambda",
        "python.list-comprehension",
        "python.dict-comprehension",
        "python.set-comprehension",
        "python.yield",
        "nodejs.require",
        "nodejs.eval",
        "nodejs.function",
        "nodejs.process-binding",
    }


def test_violation_is_written_as_ragflow_writes_it() -> None:
    assert str(Violation("python.call", 3, "Call: eval")) == "Line 3: Call: eval"


def test_disabling_a_rule_leaves_the_others() -> None:
    disabled = {"python.constant-operation", "python.import"}
    assert [str(v) for v in check("import os\neval(60*60)", "python", disabled)] == ["Line 2: Call: eval"]


def test_disabling_every_rule_passes_everything() -> None:
    assert check("import os\neval(60*60)", "python", RULES) == []


def test_disabling_an_unknown_rule_is_ignored() -> None:
    assert check("x = 1", "python", ["python.gone"]) == []


UNPARSABLE = {
    "syntax error": "def main(:",
    "indentation": "if x:\npass",
    "mixed tabs": "if x:\n\ty\n        z",
    "NUL byte": "x = 1\0",
    "lone surrogate": "x = '\ud800'",
    "lone surrogate in a comment": "# \udfff",
    "unclosed string": "'''",
    "number with too many digits": "9" * 5000,
    "nested parentheses": "(" * DEEP + ")" * DEEP,
    "nested minus": "-" * DEEP + "1",
    "nested lambda": "lambda:" * DEEP + "1",
    "nested power": "a**" * DEEP + "a",
    "nested attributes": "a" + ".b" * DEEP,
    "nested additions": "a" + "+a" * DEEP,
    "nested elif": "if a:\n b\n" + "elif a:\n b\n" * DEEP,
    "nested blocks": "".join(" " * depth + "if a:\n" for depth in range(200)),
    "nested f-strings": 'f"{' * DEEP,
}


@pytest.mark.parametrize("code", UNPARSABLE.values(), ids=UNPARSABLE)
def test_unparsable_python_is_one_violation_at_line_minus_one(code: str) -> None:
    [violation] = check(code, "python")
    assert violation.rule == "python.syntax"
    assert len(str(violation)) > len("Line -1: Parsing Error: ") and str(violation).startswith(
        "Line -1: Parsing Error: "
    )


@pytest.mark.parametrize("code", UNPARSABLE.values(), ids=UNPARSABLE)
def test_unparsable_python_passes_with_syntax_disabled(code: str) -> None:
    assert check(code, "python", ["python.syntax"]) == []


def test_syntax_error_is_worded_by_python() -> None:
    assert [str(v) for v in check("x = 1\n)", "python")] == [
        "Line -1: Parsing Error: unmatched ')' (<unknown>, line 2)"
    ]


@pytest.mark.parametrize("code", ["a" + "+a" * 900, "if a:\n b\n" + "elif a:\n b\n" * 700])
def test_nesting_that_parses_is_no_violation(code: str) -> None:
    assert check(code, "python") == []


def test_warning_of_the_parser_is_not_an_error() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check(r"x = '\d'", "python") == []


def test_warning_of_the_parser_is_silent() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(r"x = '\d'", "python")
    assert caught == []


def test_threads_leave_the_warning_filters_as_they_were() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        threads = [
            threading.Thread(target=lambda: [check(r"x = '\d'", "python") for _ in range(50)]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert warnings.filters == before


def test_lone_surrogates_in_javascript_are_text() -> None:
    assert [str(v) for v in check("\ud800\neval('\udfff')", "nodejs")] == ["Line 2: Call: eval"]


@pytest.mark.parametrize("language", ["python", "nodejs"])
def test_number_of_violations_is_limited(language: str) -> None:
    assert len(check("eval(x)\n" * (MAX_VIOLATIONS + 1), language)) == MAX_VIOLATIONS


def nested_comprehensions(innermost: str) -> str:
    return "[1 for x in " * 60 + innermost + "]" * 60


@pytest.mark.timeout(120, method="signal")
def test_nested_comprehensions_take_no_exponential_time() -> None:
    assert check(nested_comprehensions("y"), "python") == []


def test_nested_comprehensions_give_no_exponential_list() -> None:
    assert len(check(nested_comprehensions("eval(y)"), "python")) == MAX_VIOLATIONS


def calls(code: str) -> int:
    """How many functions are called to check it: what a clock would say, were every machine the same."""
    count = 0

    def called(*_: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(called)
    try:
        assert check(code, "python") == []
    finally:
        sys.setprofile(None)
    return count


def test_work_grows_with_the_lines_of_a_python_program_and_no_faster() -> None:
    line = "result = [str(item) for item in values if item.count > 3]\n"
    assert calls(line * 2000) < 4.1 * calls(line * 500)


@pytest.mark.timeout(120, method="signal")
def test_javascript_of_half_a_million_lines_is_checked() -> None:
    assert check("x = f(a, b);\n" * 500_000, "nodejs") == []
