"""What a profile says of one call with its arguments; what it says of all calls is in rules.py."""

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
    """The first rule that names the call and holds for its arguments decides; one by a name that gVisor does not
    know is none."""
    if rules is None:
        return ALLOW
    for rule in applying(rules) if call.name in known() else ():
        if call.name in names_of(rule) and _holds(rule.get("args") or [], call.arguments):
            return str(rule["action"])
    return str(rules["defaultAction"])


def applying(rules: Json) -> list[Json]:
    return [rule for rule in rules.get("syscalls") or [] if not why_dropped(rule)]


def is_conditional(rules: Json) -> bool:
    """Whether it may depend on the container's capabilities which rules there are."""
    return any(rule.get("includes") or rule.get("excludes") for rule in rules.get("syscalls") or [])


def matching(rule: Json, call: Call) -> Call:
    """The call with such arguments that the rule holds, as far as they can be found."""
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
    # Of several on one argument one must hold, which is how runc and gVisor read them.
    if any(len(same) > 1 for same in by_index.values()):
        return any(_compare(c, arguments) for same in by_index.values() for c in same)
    return all(_compare(c, arguments) for same in by_index.values() for c in same)


def _compare(condition: Json, arguments: tuple[int, ...]) -> bool:
    argument = arguments[condition["index"]] & MASK
    value = int(condition.get("value", 0)) & MASK
    if condition["op"] == "SCMP_CMP_MASKED_EQ":
        return argument & value == int(condition.get("valueTwo", 0)) & MASK
    return bool(COMPARISONS[condition["op"]](argument, value))
