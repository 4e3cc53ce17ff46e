"""Conditions of alerts: what a rule may set, and what a finding may say."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings

from sandbox_platform.kit import conditions
from sandbox_platform.kit.conditions import Choice, Condition, Finding, Parameter

AGE = Parameter("age_ms", "Age", 60_000, 1000, 3_600_000, "ms")
KIND = Choice("kind", "Kind", "a", {"a": "The first", "b": "The second"})


def condition(name: str = "of_the_test", **options: object) -> Condition:
    return Condition(name, "", "", lambda values: (), (AGE, KIND), **options)  # type: ignore[arg-type]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Callable[[Condition], Condition]:
    monkeypatch.setattr(conditions, "_declared", dict(conditions.declared()))
    return conditions.declare


def test_every_module_of_conditions_is_found() -> None:
    modules = {path.parent for path in settings.BASE_DIR.glob("*/**/conditions.py") if ".venv" not in path.parts}
    found = {Path(each.evaluate.__code__.co_filename).parent for each in conditions.declared().values()}
    assert modules - {settings.BASE_DIR / "sandbox_platform" / "kit"} == found


def test_two_conditions_of_one_name_are_refused(declare: Callable[[Condition], Condition]) -> None:
    declare(condition())
    with pytest.raises(ValueError, match="two conditions are named 'of_the_test'"):
        declare(condition(unit="%"))


def test_keys_and_names_of_shipped_rules_are_unique() -> None:
    shipped = [rule for each in conditions.declared().values() for rule in each.shipped]
    assert len({rule.key for rule in shipped}) == len({rule.name for rule in shipped}) == len(shipped)


def test_missing_values_are_the_defaults() -> None:
    assert condition().values({"kind": "b"}) == {"age_ms": 60_000, "kind": "b"}


@pytest.mark.parametrize(
    "stored, problem",
    [
        ({"age_ms": 999}, "Age: write a whole number from 1 s to 1 h."),
        ({"age_ms": 3_600_001}, "Age: write a whole number from 1 s to 1 h."),
        ({"age_ms": True}, "Age: write a whole number"),
        ({"age_ms": "1"}, "Age: write a whole number"),
        ({"kind": "c"}, "Kind: choose one of a, b."),
        ({"kind": ["a"]}, "Kind: choose one of a, b."),
    ],
)
def test_value_beyond_its_bounds_is_refused(stored: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        condition().values(stored)


def test_finding_is_bounded_and_on_one_line() -> None:
    finding = Finding("a\nb" + "x" * 300, 1, "c\r\nd" + "y" * 400, "/z" * 400).bounded
    assert (finding.subject[:3], len(finding.subject)) == ("a b", 200)
    assert (finding.detail[:3], len(finding.detail), len(finding.link)) == ("c d", 300, 300)


@pytest.mark.parametrize("unit, words", [("ms", "1.5 s"), ("bytes", "1.46 KiB"), ("%", "1,500 %"), ("", "1,500")])
def test_values_have_units(unit: str, words: str) -> None:
    assert condition(unit=unit).in_words(1500) == words
