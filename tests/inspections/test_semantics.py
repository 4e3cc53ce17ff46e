from typing import Any

import pytest

from inspections import caller, semantics
from inspections.caller import Call
from inspections.learning import BY_CHANCE, allowing, named
from inspections.probing import Findings
from seccomp_profiles.advice import ALWAYS_NEEDED
from seccomp_profiles.rules import ALLOW, DENY
from seccomp_profiles.x86_64 import NUMBERS
from tests.inspections.conftest import denying


def rule(*args: dict[str, Any], name: str = "socket", action: str = DENY) -> dict[str, Any]:
    return {"names": [name], "action": action, "args": list(args)}


def on(index: int, op: str, value: int, value_two: int = 0) -> dict[str, Any]:
    return {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": value_two}


def profile(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"defaultAction": ALLOW, "syscalls": list(rules)}


def test_the_first_rule_that_matches_decides() -> None:
    rules = profile(rule(action=ALLOW), rule())
    assert semantics.action(rules, Call.harmless("socket")) == ALLOW


def test_a_name_that_gvisor_does_not_know_makes_no_rule() -> None:
    rules = denying("set_mempolicy_home_node")
    assert semantics.action(rules, Call.harmless("set_mempolicy_home_node")) == ALLOW


@pytest.mark.parametrize("op", ["NE", "LT", "LE", "EQ", "GE", "GT"])
def test_arguments_are_found_for_which_a_rule_holds(op: str) -> None:
    conditional = rule(on(1, op, 5))
    call = semantics.matching(conditional, Call.harmless("socket"))
    assert semantics.action(profile(conditional), call) == DENY


def test_masked_arguments_are_found() -> None:
    conditional = rule(on(0, "MASKED_EQ", 0xFF, 0x0A))
    call = semantics.matching(conditional, Call.harmless("socket"))
    assert semantics.action(profile(conditional), call) == DENY


def test_conditions_on_different_arguments_hold_together() -> None:
    conditional = rule(on(0, "EQ", 1), on(1, "EQ", 2))
    assert semantics.action(profile(conditional), Call("socket", (1, 3, 0, 0, 0, 0))) == ALLOW


def test_conditions_on_one_argument_are_alternatives() -> None:
    conditional = rule(on(0, "EQ", 1), on(0, "EQ", 2))
    assert semantics.action(profile(conditional), Call("socket", (2, 0, 0, 0, 0, 0))) == DENY


@pytest.mark.parametrize(
    ("expected", "answer", "baseline", "found"),
    [
        (DENY, -1, -22, "refused"),
        (DENY, -1, -1, "cannot_tell"),
        (DENY, -22, -22, "not_refused"),
        (DENY, -22, -1, "not_refused"),
        (ALLOW, -22, -22, "allowed"),
        (ALLOW, -1, -22, "not_allowed"),
        (ALLOW, -1, -1, "cannot_tell"),
        (ALLOW, None, -22, "not_allowed"),
        ("SCMP_ACT_KILL", None, -22, "refused"),
        ("SCMP_ACT_KILL", -22, -22, "not_refused"),
        (DENY, -1, None, "not_tried"),
    ],
)
def test_what_an_answer_proves(expected: str, answer: int | None, baseline: int | None, found: str) -> None:
    findings = Findings()
    findings.judge(Call.harmless("mount"), expected, answer, baseline)
    assert getattr(findings, found) == ["mount"]


def test_a_program_of_calls_is_an_elf_and_its_answers_are_read() -> None:
    assert caller.program([Call.harmless("mount")])[:4] == b"\x7fELF"
    assert caller.answers((5).to_bytes(8, "little") + b"\xff" * 8 + b"cut") == [5, -1]


def test_a_proposal_allows_what_was_called_what_may_come_by_chance_and_the_runner() -> None:
    rules = allowing({"socket"})
    assert named(rules) == {"socket"} | BY_CHANCE | ALWAYS_NEEDED
    assert semantics.action(rules, Call.harmless("ptrace")) == DENY


def test_what_comes_by_chance_has_names_that_exist() -> None:
    assert NUMBERS.keys() >= BY_CHANCE
