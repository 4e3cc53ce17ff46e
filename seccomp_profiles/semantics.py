"""What a profile says of one call: as Docker hands it to gVisor, and as gVisor reads it."""

import operator
import platform
import re
from collections.abc import Iterable, Mapping
from typing import Any

from seccomp_profiles.caller import Call

ALLOW = "SCMP_ACT_ALLOW"
ERRNO = "SCMP_ACT_ERRNO"
# What the runner keeps: see docker_engine.
CAPABILITIES = frozenset({"CAP_SETUID", "CAP_SETGID", "CAP_KILL"})
ARCHITECTURE = "amd64"
MASK = 2**64 - 1
COMPARISONS = {
    "SCMP_CMP_NE": operator.ne,
    "SCMP_CMP_LT": operator.lt,
    "SCMP_CMP_LE": operator.le,
    "SCMP_CMP_EQ": operator.eq,
    "SCMP_CMP_GE": operator.ge,
    "SCMP_CMP_GT": operator.gt,
}
Rules = Mapping[str, Any]


def action(rules: Rules | None, call: Call) -> str:
    """The first rule that names the call and holds for its arguments decides."""
    if rules is None:
        return ALLOW
    for rule in applying(rules):
        if call.name in names(rule) and _holds(rule.get("args") or [], call.arguments):
            return str(rule["action"])
    return str(rules["defaultAction"])


def applying(rules: Rules) -> list[Rules]:
    """Docker leaves out rules that are for other machines, or for containers with other capabilities."""
    return [rule for rule in rules.get("syscalls") or [] if _applies(rule)]


def names(rule: Rules) -> list[str]:
    return list(rule.get("names") or [rule["name"]])


def is_conditional(rules: Rules | None) -> bool:
    """Whether it depends on the container's capabilities which rules there are."""
    return any(rule.get("includes") or rule.get("excludes") for rule in (rules or {}).get("syscalls") or [])


def matching(rule: Rules, call: Call) -> Call:
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


def _holds(conditions: Iterable[Rules], arguments: tuple[int, ...]) -> bool:
    by_index: dict[int, list[Rules]] = {}
    for condition in conditions:
        by_index.setdefault(condition["index"], []).append(condition)
    # Of several on one argument one must hold, which is how runc and gVisor read them.
    if any(len(same) > 1 for same in by_index.values()):
        return any(_compare(c, arguments) for same in by_index.values() for c in same)
    return all(_compare(c, arguments) for same in by_index.values() for c in same)


def _compare(condition: Rules, arguments: tuple[int, ...]) -> bool:
    argument = arguments[condition["index"]] & MASK
    value = int(condition.get("value", 0)) & MASK
    if condition["op"] == "SCMP_CMP_MASKED_EQ":
        return argument & value == int(condition.get("valueTwo", 0)) & MASK
    return bool(COMPARISONS[condition["op"]](argument, value))


def _applies(rule: Rules) -> bool:
    return not _any_of(rule.get("excludes") or {}) and _all_of(rule.get("includes") or {})


def _any_of(condition: Rules) -> bool:
    return (
        ARCHITECTURE in (condition.get("arches") or [])
        or any(c in CAPABILITIES for c in condition.get("caps") or [])
        or ("minKernel" in condition and _kernel() >= _version(condition["minKernel"]))
    )


def _all_of(condition: Rules) -> bool:
    return (
        (not condition.get("arches") or ARCHITECTURE in condition["arches"])
        and all(c in CAPABILITIES for c in condition.get("caps") or [])
        and ("minKernel" not in condition or _kernel() >= _version(condition["minKernel"]))
    )


def _kernel() -> tuple[int, ...]:
    return _version(platform.release())


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])
