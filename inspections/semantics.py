"""The action of a profile for one system call with its arguments. For all calls at once, see rules.py."""

import operator
from collections.abc import Iterable

from inspections.caller import Call
from seccomp_profiles.rules import ALLOW, Json, names_of, why_dropped
from seccomp_profiles.syscalls import known

MASK = 2**64 - 1
COMPARISONS = {
    "SCMP_CMP_NE": operator.ne,
    "SCMP_CMP_LT": operator.lt,
    "SCMP_CMP_LE": operator.le,
    "SCMP_CMP_EQ": operator.eq,
    "SCMP_CMP_GE": operator.ge,
    "SCMP_CMP_GT": operator.gt,
}


def action(rules: Json | None, call: Call) -> str:
    """Return the action for the call: that of the first rule that names it and whose conditions hold.

    Rules for a name that gVisor does not know have no effect.
    """
    if rules is None:
        return ALLOW
    for rule in applying(rules) if call.name in known() else ():
        if call.name in names_of(rule) and _holds(rule.get("args") or [], call.arguments):
            return str(rule["action"])
    return str(rules["defaultAction"])


def applying(rules: Json) -> list[Json]:
    return [rule for rule in rules.get("syscalls") or [] if not why_dropped(rule)]


def is_conditional(rules: Json) -> bool:
    """Return whether the set of rules may depend on the container's capabilities, architecture or kernel."""
    return any(rule.get("includes") or rule.get("excludes") for rule in rules.get("syscalls") or [])


def matching(rule: Json, call: Call) -> Call:
    """Return the call with arguments that match the rule's conditions, as far as they can be found."""
    arguments = list(call.arguments)
    for condition in rule.get("args") or []:
        value = int(condition.get("value", 0))
        match condition.get("op"):
            case "SCMP_CMP_MASKED_EQ":
                arguments[condition["index"]] = int(condition.get("valueTwo", 0))
            case "SCMP_CMP_NE" | "SCMP_CMP_GT":
                arguments[condition["index"]] = value + 1
            case "SCMP_CMP_LT":
                arguments[condition["index"]] = value - 1
            case _:
                arguments[condition["index"]] = value
    return Call(call.name, tuple(argument & MASK for argument in arguments))


def _holds(conditions: Iterable[Json], arguments: tuple[int, ...]) -> bool:
    by_index: dict[int, list[Json]] = {}
    for condition in conditions:
        by_index.setdefault(condition["index"], []).append(condition)
    # As in runc and gVisor: if two conditions name one argument, any one of all conditions is enough.
    if any(len(same) > 1 for same in by_index.values()):
        return any(_compare(c, arguments) for same in by_index.values() for c in same)
    return all(_compare(c, arguments) for same in by_index.values() for c in same)


def _compare(condition: Json, arguments: tuple[int, ...]) -> bool:
    argument = arguments[condition["index"]] & MASK
    value = int(condition.get("value", 0)) & MASK
    if condition["op"] == "SCMP_CMP_MASKED_EQ":
        return argument & value == int(condition.get("valueTwo", 0)) & MASK
    return bool(COMPARISONS[condition["op"]](argument, value))
