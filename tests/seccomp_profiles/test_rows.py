import json
from typing import Any

import pytest

from seccomp_profiles import shipped
from seccomp_profiles.admin.widgets import FORM, JSON, RulesWidget
from seccomp_profiles.rows import NotRows, rules_from_fields, rules_to_rows
from tests.pages import fields
from tests.seccomp_profiles.test_validators import deny, profile

ODD = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "defaultErrnoRet": None,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []}],
    "flags": [],
    "x-ours": {"a": [1.5, None, "é\u2028"]},
    "syscalls": [
        {"name": "mkdir", "action": "SCMP_ACT_ERRNO", "args": None, "names": None, "comment": ""},
        {
            "names": ["rmdir", "rmdir", "nöpe"],
            "action": "SCMP_ACT_LOG",
            "errnoRet": 38,
            "comment": "a\nb\r\nc\rd ",
        },
        {
            "names": ["socket"],
            "action": "SCMP_ACT_KILL",
            "includes": {"caps": ["CAP_NET_ADMIN"], "minKernel": "4.8"},
            "excludes": {},
            "args": [
                {"index": 0, "value": 2**64 - 1, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ", "why": "<b>"},
                {"value": 7, "op": "SCMP_CMP_NOPE"},
                {"index": 17, "value": "x", "op": None},
            ],
        },
        {"names": [], "action": "SCMP_ACT_ALLOW"},
        {},
    ],
}
BUILT = [
    None,
    {"defaultAction": "SCMP_ACT_ERRNO"},
    {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": None},
    {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [], "defaultErrnoRet": 1},
    {"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]},
    ODD,
]


def sent(rules: Any) -> dict[str, str]:
    """What a browser sends of the editor, untouched."""
    text = "" if rules is None else json.dumps(rules)
    return fields(RulesWidget().render("rules", text, {"id": "id_rules"}))


def value(data: dict[str, str]) -> Any:
    text = RulesWidget().value_from_datadict(data, {}, "rules")
    return json.loads(text) if text else None


@pytest.mark.parametrize("rules", [*BUILT, *(s.rules for s in shipped.PROFILES.values() if s.rules)])
def test_rules_come_back_as_they_were(rules: Any) -> None:
    data = sent(rules)
    assert data["rules-editor"] == FORM
    assert value(data) == rules


def change(rules: Any, **values: str) -> Any:
    data = sent(rules)
    named = {f"rules-{name.replace('_', '-')}": text for name, text in values.items()}
    # What the form does not have cannot be sent.
    assert set(named) - {name for name in named if name.endswith("-remove")} <= set(data)
    return value(data | named)


def test_default_is_changed() -> None:
    assert change(profile(deny("mkdir")), default="SCMP_ACT_KILL") == profile(deny("mkdir")) | {
        "defaultAction": "SCMP_ACT_KILL"
    }


def test_only_what_was_changed_changes() -> None:
    after = change(ODD, **{"1_action": "SCMP_ACT_ERRNO"})
    expected = json.loads(json.dumps(ODD))
    expected["syscalls"][1]["action"] = "SCMP_ACT_ERRNO"
    assert after == expected


def test_names_are_edited_and_added() -> None:
    rules = profile(deny("mkdir", "rmdir"))
    assert change(rules, **{"0_names": "rmdir,\nmount", "0_add": "ptrace rmdir"})["syscalls"][0]["names"] == [
        "rmdir",
        "mount",
        "ptrace",
    ]


def test_empty_row_becomes_a_rule() -> None:
    after = change(profile(deny("mkdir")), **{"1_action": "SCMP_ACT_KILL", "1_add": "mount"})
    assert after["syscalls"][1] == {"action": "SCMP_ACT_KILL", "names": ["mount"]}


def test_rule_is_taken_out() -> None:
    assert change(profile(deny("mkdir"), deny("rmdir")), **{"0_remove": "1"}) == profile(deny("rmdir"))


def test_last_rule_taken_out_leaves_none() -> None:
    assert change(profile(deny("mkdir")), **{"0_remove": "1"})["syscalls"] == []


def test_rules_are_tried_in_the_order_of_their_places() -> None:
    after = change(profile(deny("a"), deny("b"), deny("c")), **{"2_place": "0"})
    assert [rule["names"] for rule in after["syscalls"]] == [["c"], ["a"], ["b"]]


def test_condition_is_added_changed_and_taken_out() -> None:
    rules = profile(deny("socket", args=[{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]))
    added = {"0_arg_1_index": "1", "0_arg_1_op": "SCMP_CMP_MASKED_EQ", "0_arg_1_value": "0xff"}
    after = change(rules, **{"0_arg_0_value": "3"}, **added, **{"0_arg_1_valueTwo": "0o17"})
    assert after["syscalls"][0]["args"] == [
        {"index": 0, "value": 3, "op": "SCMP_CMP_EQ"},
        {"index": 1, "value": 255, "valueTwo": 15, "op": "SCMP_CMP_MASKED_EQ"},
    ]
    assert "args" not in change(rules, **{"0_arg_0_remove": "1"})["syscalls"][0]


def test_errno_is_set_and_taken_away() -> None:
    assert change(profile(deny("mkdir")), **{"0_errno": "38"})["syscalls"][0]["errnoRet"] == 38
    assert "errnoRet" not in change(profile(deny("mkdir", errnoRet=38)), **{"0_errno": ""})["syscalls"][0]


@pytest.mark.parametrize("text", ["x", "1.5", "²", "9" * 41, "-", "0x"])
def test_what_is_no_number_stays_what_was_written(text: str) -> None:
    rules = profile(deny("socket", args=[{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]))
    assert change(rules, **{"0_arg_0_value": text})["syscalls"][0]["args"][0]["value"] == text


def test_no_default_and_no_rules_is_no_filter() -> None:
    assert change({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}, default="") is None


def test_no_default_with_a_rule_is_not_no_filter() -> None:
    assert change(profile(deny("mkdir")), default="") == {"syscalls": [deny("mkdir")]}


@pytest.mark.parametrize(
    "rules",
    [
        [],
        {"syscalls": {}},
        {"syscalls": [1]},
        {"syscalls": [{"names": ["a b"]}]},
        {"syscalls": [{"names": "mkdir"}]},
        {"syscalls": [{"args": [1]}]},
        {"syscalls": [{"args": [{"value": 1.5}]}]},
        {"syscalls": [{"action": 1}]},
        {"defaultAction": []},
        {"syscalls": [{"names": ["mkdir"]}] * 200},
    ],
)
def test_what_does_not_fit_is_edited_as_json(rules: Any) -> None:
    with pytest.raises(NotRows):
        rules_to_rows(rules)
    data = sent(rules)
    assert data["rules-editor"] == JSON
    assert value(data) == rules


def test_as_many_fields_as_django_takes() -> None:
    rules = profile(*[deny("mkdir", args=[{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}])] * 46)
    assert len(sent(rules)) < 1000


@pytest.mark.parametrize("was", ["{", "[]", "1", "[" * 100_000, '{"syscalls": {}, "defaultAction": 1}'])
def test_fields_that_no_form_sends_are_refused(was: str) -> None:
    with pytest.raises(ValueError):
        rules_from_fields({"rules-was": was, "rules-default": "x"})


def test_text_that_is_no_json_is_shown_again() -> None:
    html = RulesWidget().render("rules", "{<b>", {"id": "id_rules"})
    assert "The text is not valid JSON. Correct it to edit it as rows." in html
    assert "{&lt;b&gt;" in html


def test_what_others_wrote_is_escaped() -> None:
    html = RulesWidget().render("rules", json.dumps(profile(deny("<b>x", comment="</textarea><i>y"))))
    assert not [tag for tag in ("<b>x", "<i>y") if tag in html]
