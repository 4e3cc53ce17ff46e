"""The effect of a profile in Docker's format: which rules Docker keeps, and how gVisor applies them.

Measured with Docker 26.1.5 and runsc 20240729: Docker drops rules by their includes and excludes. Of the rest, the
first rule that names a call and whose arguments match decides; if none matches, the default action applies.
"""

import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from seccomp_profiles.syscalls import known

Json = dict[str, Any]

ALLOW, DENY = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
# The capabilities that a sandbox keeps: see sandboxes/docker_engine.py.
CAPABILITIES = frozenset({"CAP_SETUID", "CAP_SETGID", "CAP_KILL"})
GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
ACTION_WORDS = {
    ALLOW: "allowed",
    DENY: "denied",
    "SCMP_ACT_TRAP": "SIGSYS",
    "SCMP_ACT_KILL": "killed",
    "SCMP_ACT_TRACE": "traced",
}
OPERATORS = {
    "SCMP_CMP_NE": "≠",
    "SCMP_CMP_LT": "<",
    "SCMP_CMP_LE": "≤",
    "SCMP_CMP_EQ": "=",
    "SCMP_CMP_GE": "≥",
    "SCMP_CMP_GT": ">",
    "SCMP_CMP_MASKED_EQ": "&",
}


def names_of(rule: Json) -> list[str]:
    """Return the names of a rule. Docker's older format has a single `name`."""
    return [*(rule.get("names") or ()), *([rule["name"]] if rule.get("name") else ())]


def why_dropped(rule: Json) -> str:
    """Return why Docker drops this rule for a sandbox on this machine; "" if Docker keeps it."""
    excludes, includes = rule.get("excludes") or {}, rule.get("includes") or {}
    machine = GO_ARCHITECTURES.get(platform.machine(), platform.machine())
    if machine in (arches := excludes.get("arches") or ()):
        return f"excluded on {machine}"
    if has := CAPABILITIES & set(excludes.get("caps") or ()):
        return f"excluded with {', '.join(sorted(has))}, which sandboxes have"
    if (kernel := excludes.get("minKernel")) and _kernel_is_at_least(kernel):
        return f"excluded from kernel {kernel} on"
    if (arches := includes.get("arches")) and machine not in arches:
        return f"only for {', '.join(arches)}"
    if lacks := set(includes.get("caps") or ()) - CAPABILITIES:
        return f"only with {', '.join(sorted(lacks))}, which no sandbox has"
    if (kernel := includes.get("minKernel")) and not _kernel_is_at_least(kernel):
        return f"only from kernel {kernel} on"
    return ""


def _kernel_is_at_least(wanted: str) -> bool:
    """Compare with the host's kernel, which is the one that Docker checks."""
    host = re.match(r"(\d+)\.(\d+)", platform.release())
    numbers = tuple(int(number) for number in wanted.split(".")[:2])
    return bool(host) and tuple(int(number) for number in host.groups()) >= numbers if host else False


@dataclass(frozen=True)
class Step:
    """The effect of one rule on one system call."""

    action: str
    condition: str = ""  # "" if the rule always matches

    def __str__(self) -> str:
        word = ACTION_WORDS.get(self.action, self.action)
        return f"{word} if {self.condition}" if self.condition else word


Outcome = tuple[Step, ...]  # in the order in which gVisor tries the rules; the last step always matches


def outcomes(rules: Json | None) -> dict[str, Outcome]:
    """Return the outcome of every call that gVisor knows, by name. `rules` must have no errors."""
    if rules is None:
        rules = {"defaultAction": ALLOW}
    steps: dict[str, list[Step]] = {name: [] for name in known()}
    for rule in rules.get("syscalls") or ():
        if why_dropped(rule):
            continue
        step = Step(rule["action"], condition(rule.get("args") or ()))
        for name in names_of(rule):
            # Rules after one that always matches are never reached.
            if name in steps and not (steps[name] and not steps[name][-1].condition):
                steps[name].append(step)
    default = Step(rules["defaultAction"])
    return {name: _completed(found, default) for name, found in steps.items()}


def _completed(steps: list[Step], default: Step) -> Outcome:
    if not steps or steps[-1].condition:
        steps = [*steps, default]
    # A condition whose action equals that of the next step has no effect.
    while len(steps) > 1 and steps[-2].action == steps[-1].action:
        steps = [*steps[:-2], steps[-1]]
    return tuple(steps)


def always_denied(outcome: Outcome) -> bool:
    return all(step.action != ALLOW for step in outcome)


def in_words(outcome: Outcome) -> str:
    *conditions, last = (str(step) for step in outcome)
    return f"{', '.join(conditions)}, else {last}" if conditions else last


def condition(args: Iterable[Json]) -> str:
    args = list(args)
    indexes = [arg.get("index", 0) for arg in args]
    # gVisor follows runc: if two conditions name one argument, all conditions of the rule are alternatives.
    joint = " or " if len(set(indexes)) < len(indexes) else " and "
    return joint.join(_comparison(arg) for arg in args)


def _comparison(arg: Json) -> str:
    index, value, operator = arg.get("index", 0), arg.get("value", 0), OPERATORS[arg["op"]]
    if operator == "&":
        return f"argument {index} & {value:#x} = {arg.get('valueTwo', 0):#x}"
    return f"argument {index} {operator} {value:#x}"
