"""Convert a profile's rules to the fields of a form, and back.

Each row carries its original rule, and only the fields that the user changed are changed in the rule. Keys that the
form does not show and the notation of values therefore survive: an unedited form yields the same rules.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seccomp_profiles.rules import Json

# Keys of a rule and of a condition that have fields of their own.
RULE_FIELDS = ("names", "action", "errnoRet", "comment", "args")
CONDITION_FIELDS = ("index", "op", "value", "valueTwo")
# A browser sends every field, and Django refuses more than 1000 (DATA_UPLOAD_MAX_NUMBER_FIELDS).
MAX_FIELDS = 900
MAX_NUMBER_LENGTH = 40


class NotRows(ValueError):
    """The rules cannot be shown as rows. The message gives the reason."""


@dataclass
class ConditionRow:
    prefix: str
    original: Json | None = None  # None: an empty row for a new condition
    texts: dict[str, str] = field(default_factory=lambda: dict.fromkeys(CONDITION_FIELDS, ""))

    @property
    def original_json(self) -> str:
        return json.dumps(self.original)


@dataclass
class RuleRow:
    prefix: str
    number: int
    original: Json | None = None
    action: str = ""
    names: list[str] = field(default_factory=list)
    errno: str = ""
    comment: str = ""
    conditions: list[ConditionRow] = field(default_factory=list)

    @property
    def original_json(self) -> str:
        return json.dumps(self.original)

    @property
    def other_keys(self) -> str:
        """Return the keys of the rule that have no field, as JSON."""
        others = {key: value for key, value in (self.original or {}).items() if key not in RULE_FIELDS}
        return json.dumps(others, ensure_ascii=False) if others else ""


@dataclass
class Rows:
    prefix: str
    original: Json | None
    default: str
    errno: str
    rules: list[RuleRow]

    @property
    def original_json(self) -> str:
        return json.dumps(self.original)

    @property
    def other_keys(self) -> str:
        known = ("defaultAction", "defaultErrnoRet", "syscalls")
        others = {key: value for key, value in (self.original or {}).items() if key not in known}
        return json.dumps(others, ensure_ascii=False) if others else ""


def rules_to_rows(rules: Any, prefix: str = "rules") -> Rows:
    """Return the rows of the rules, with an empty rule at the end and an empty condition in each. Raises NotRows."""
    if rules is None:
        return Rows(prefix, None, "", "", [empty_rule(prefix, 1)])
    if not isinstance(rules, dict) or not isinstance(syscalls := _list(rules, "syscalls"), list):
        raise NotRows("the profile must be an object with a list of rules")
    found = [_rule_row(rule, prefix, number) for number, rule in enumerate(syscalls, 1)]
    if 4 + sum(7 + 6 * len(row.conditions) for row in found) > MAX_FIELDS:
        raise NotRows("too many rules for a form")
    # The rules have rows of their own.
    original = rules | ({"syscalls": []} if isinstance(rules.get("syscalls"), list) else {})
    default, errno = _text(rules, "defaultAction"), _number(rules, "defaultErrnoRet")
    return Rows(prefix, original, default, errno, [*found, empty_rule(prefix, len(found) + 1)])


def empty_rule(prefix: str, number: int | str) -> RuleRow:
    name = f"{prefix}-{int(number) - 1 if isinstance(number, int) else number}"
    return RuleRow(name, number if isinstance(number, int) else 0, conditions=[ConditionRow(f"{name}-arg-0")])


def _rule_row(rule: Any, prefix: str, number: int) -> RuleRow:
    if not isinstance(rule, dict):
        raise NotRows(f"rule {number} is not an object")
    names, args = _list(rule, "names"), _list(rule, "args")
    if not isinstance(names, list) or not all(
        isinstance(n, str) and n and not re.search(r"[\s,]", n) for n in names
    ):
        raise NotRows(f"the names of rule {number} are not a list of words")
    if not isinstance(args, list) or not all(isinstance(arg, dict) for arg in args):
        raise NotRows(f"the conditions of rule {number} are not a list of objects")
    name = f"{prefix}-{number - 1}"
    row = RuleRow(
        name, number, rule, _text(rule, "action"), names, _number(rule, "errnoRet"), _text(rule, "comment")
    )
    for index, arg in enumerate(args):
        texts = {key: _text(arg, key) if key == "op" else _number(arg, key) for key in CONDITION_FIELDS}
        row.conditions.append(ConditionRow(f"{name}-arg-{index}", arg, texts))
    row.conditions.append(ConditionRow(f"{name}-arg-{len(args)}"))
    return row


def _list(holder: Json, key: str) -> Any:
    value = holder.get(key)
    return [] if value is None else value


def _text(holder: Json, key: str) -> str:
    value = holder.get(key)
    if value is not None and not isinstance(value, str):
        raise NotRows(f"{key} is not a string")
    return value or ""


def _number(holder: Json, key: str) -> str:
    """Return the number as text. A string is kept as it is, so that the validation can refuse it."""
    value = holder.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | str)):
        raise NotRows(f"{key} is not a number")
    return "" if value is None else str(value)


# -- From fields to rules --------------------------------------------------------------------------------------


def rules_from_fields(data: Mapping[str, Any], prefix: str = "rules") -> Any:
    """Return the rules in the form's fields; None for no filter.

    Raises ValueError for fields that the form cannot send.
    """
    rules: Json = dict(_original(data, prefix) or {})
    _set(rules, "defaultAction", data.get(f"{prefix}-default", ""), _text(rules, "defaultAction"))
    _set_number(rules, "defaultErrnoRet", data.get(f"{prefix}-errno", ""), _number(rules, "defaultErrnoRet"))
    found = [
        rule
        for rule in (_read_rule(data, f"{prefix}-{index}") for index in _order(data, prefix))
        if rule is not None
    ]
    if found:
        rules["syscalls"] = found
    if not rules.get("defaultAction") and not found and not set(rules) - {"defaultAction", "syscalls"}:
        return None
    return rules


def _order(data: Mapping[str, Any], prefix: str) -> list[str]:
    """Return the indexes of the rules, sorted by their `place` fields."""
    names = (re.fullmatch(rf"{re.escape(prefix)}-([0-9]{{1,4}})-action", key) for key in data)
    indexes = sorted({match[1] for match in names if match}, key=int)

    def place(index: str) -> int:
        text = str(data.get(f"{prefix}-{index}-place", ""))
        return int(text) if re.fullmatch(r"-?[0-9]{1,6}", text, re.ASCII) else int(index) + 1

    return sorted(indexes, key=place)


def _read_rule(data: Mapping[str, Any], prefix: str) -> Json | None:
    if data.get(f"{prefix}-remove"):
        return None
    original = _original(data, prefix)
    rule: Json = dict(original or {})
    row = _rule_row(rule, "", 1)
    _set(rule, "action", data.get(f"{prefix}-action", ""), row.action)
    added = words(data.get(f"{prefix}-add", ""))
    names = words(data.get(f"{prefix}-names", ""))
    names += [name for name in added if name not in names]
    if names != row.names:
        rule["names"] = names
    _set_number(rule, "errnoRet", data.get(f"{prefix}-errno", ""), row.errno)
    _set(rule, "comment", data.get(f"{prefix}-comment", ""), row.comment)
    conditions = _read_conditions(data, prefix)
    if conditions != (rule.get("args") or []):
        rule.pop("args", None)
        rule |= {"args": conditions} if conditions else {}
    return None if original is None and not rule else rule


def _read_conditions(data: Mapping[str, Any], prefix: str) -> list[Json]:
    names = (re.fullmatch(rf"{re.escape(prefix)}-arg-([0-9]{{1,4}})-op", key) for key in data)
    found = []
    for index in sorted({int(match[1]) for match in names if match}):
        name = f"{prefix}-arg-{index}"
        if data.get(f"{name}-remove"):
            continue
        original = _original(data, name)
        condition: Json = dict(original or {})
        for key in ("index", "value", "valueTwo"):
            _set_number(condition, key, data.get(f"{name}-{key}", ""), _number(condition, key))
        _set(condition, "op", data.get(f"{name}-op", ""), _text(condition, "op"))
        if original is not None or condition:
            found.append(condition)
    return found


def words(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,]+", text) if word]


def _original(data: Mapping[str, Any], prefix: str) -> Json | None:
    try:
        original = json.loads(data.get(f"{prefix}-was") or "null")
    except RecursionError as e:
        raise ValueError("nested too deeply") from e
    if original is not None and not isinstance(original, dict):
        raise ValueError(f"{prefix}-was is not an object")
    return original


def _set(holder: Json, key: str, text: str, before: str) -> None:
    # Browsers send CRLF line endings.
    text, before = (re.sub(r"\r\n?", "\n", each) for each in (text, before))
    if text == before:
        return
    holder.pop(key, None)
    if text:
        holder[key] = text


def _set_number(holder: Json, key: str, text: str, before: str) -> None:
    text = text.strip()
    if text == before.strip():
        return
    holder.pop(key, None)
    if text:
        holder[key] = _integer(text)


def _integer(text: str) -> int | str:
    """Parse a decimal, 0x or 0o number. Return other text unchanged, so that the validation can refuse it."""
    try:
        return int(text, 0) if len(text) <= MAX_NUMBER_LENGTH else text
    except ValueError:
        return text
