"""About a profile that could be used: what it does not do although it says so, and what it will break."""

import difflib
import platform
from collections.abc import Iterable, Iterator
from typing import Any

from seccomp_profiles.findings import ERROR, INFO, WARNING, Finding
from seccomp_profiles.rules import ALLOW, Json, always_denied, names_of, outcomes, why_dropped
from seccomp_profiles.syscalls import known, table

# What the runner itself calls, under the profile as its programs are: see images/runner and docs/seccomp.md.
# Measured: without one of the first, no sandbox of any runtime becomes ready.
NOBODY = "the runner becomes nobody before it starts the program"
RUNNER_NEEDS = {
    "setuid": NOBODY,
    "setgid": NOBODY,
    "setgroups": NOBODY,
    "clone": "the runner forks the process that becomes the program",
    "pipe2": "the runner talks to the program through pipes",
    "dup2": "the runner talks to the program through pipes",
    "setsid": "the runner gives the program a session of its own",
    "chdir": "the runner begins the program in /workspace",
    "poll": "the runner waits for the program with it",
    "kill": "the runner ends with it what a program leaves behind",
    "clone3": "Node.js starts its threads with it",
    "execve": "the runner starts with it every interpreter but Python's",
}
ALWAYS_NEEDED = frozenset(("setuid", "setgid", "setgroups", "clone", "pipe2", "dup2", "setsid", "chdir", "poll"))
MANY = 8


def on(rules: Json) -> list[Finding]:
    return [
        *_on_the_whole(rules),
        *(finding for number, rule in _numbered(rules) for finding in _on_rule(rule, number)),
        *_on_repetitions(rules),
        *_on_the_runner(rules),
    ]


def on_changes(allow: set[str], deny: set[str]) -> list[Finding]:
    """On what a profile changes of its parent."""
    found = [
        Finding(ERROR, "deny", f"{name} is among those allowed too.", "Take it out of one list.", syscall=name)
        for name in sorted(allow & deny)
    ]
    for key, names in (("allow", allow), ("deny", deny)):
        found += _on_names(sorted(names), key, None)
    return found


def _numbered(rules: Json) -> list[tuple[int, Json]]:
    return list(enumerate(rules.get("syscalls") or (), 1))


def _on_the_whole(rules: Json) -> Iterator[Finding]:
    for key in ("architectures", "archMap"):
        if rules.get(key):
            yield Finding(INFO, key, "Ignored: gVisor filters the calls of the machine's own architecture.")
    for key in ("flags", "listenerPath", "listenerMetadata"):
        if rules.get(key):
            yield Finding(WARNING, key, "gVisor ignores it.", "Leave it out.")
    if rules["defaultAction"] == "SCMP_ACT_TRACE":
        yield _traced("defaultAction", None)


def _on_rule(rule: Json, number: int) -> Iterator[Finding]:
    path = f"syscalls[{number - 1}]"
    if why := why_dropped(rule):
        yield Finding(INFO, path, f"Docker leaves this rule out: {why}.", rule=number)
        return
    yield from _on_names(names_of(rule), f"{path}.names", number)
    if rule["action"] == "SCMP_ACT_TRACE":
        yield _traced(f"{path}.action", number)
    yield from _on_args(rule.get("args") or (), f"{path}.args", number)


def _traced(path: str, number: int | None) -> Finding:
    return Finding(
        INFO, path, "Nobody traces: programs are told that the call does not exist (ENOSYS).", rule=number
    )


def _on_names(names: list[str], path: str, number: int | None) -> Iterator[Finding]:
    linux = table()
    for name in sorted({name for name in names if name not in linux}):
        similar = difflib.get_close_matches(name, known(), 1)
        yield Finding(
            WARNING,
            path,
            f"{name} is no system call of Linux: gVisor skips it without a word.",
            f"Did you mean {similar[0]}?" if similar else "Take it out.",
            number,
            name,
        )
    if skipped := sorted({name for name in names if name in linux and not linux[name].known}):
        message = (
            f"gVisor does not have, and skips, {_list(skipped)}: programs are told so with or without a rule."
        )
        yield Finding(INFO, path, message, rule=number)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        yield Finding(INFO, path, f"Named twice: {_list(twice)}.", "Once is enough.", number)


def _on_args(args: Iterable[Json], path: str, number: int) -> Iterator[Finding]:
    args = list(args)
    indexes = [arg.get("index", 0) for arg in args]
    if len(set(indexes)) < len(indexes):
        yield Finding(
            WARNING,
            path,
            "Two conditions on one argument: then the rule applies if any of all its conditions holds, not all.",
            "Split it into two rules if that is not meant.",
            number,
        )
    for index, arg in enumerate(args):
        value, two, masked = arg.get("value", 0), arg.get("valueTwo", 0), arg["op"] == "SCMP_CMP_MASKED_EQ"
        if "value" not in arg:
            yield Finding(WARNING, f"{path}[{index}].value", "Missing: it counts as 0.", "Write it.", number)
        if masked and two & ~value:
            remedy = "value is the mask, valueTwo what must be left under it."
            yield Finding(WARNING, f"{path}[{index}].valueTwo", "This never matches.", remedy, number)
        if not masked and two:
            yield Finding(INFO, f"{path}[{index}].valueTwo", "Ignored: only MASKED_EQ has two values.", "", number)


def _on_repetitions(rules: Json) -> Iterator[Finding]:
    """Rules that are never reached because an earlier one decides, and such as only repeat the default."""
    decided: dict[str, tuple[int, str]] = {}
    mentions: dict[str, int] = {}
    for number, rule in _numbered(rules):
        if why_dropped(rule):
            continue
        late: dict[tuple[int, str], list[str]] = {}
        for name in dict.fromkeys(names_of(rule)):
            mentions[name] = mentions.get(name, 0) + 1
            if name in decided:
                late.setdefault(decided[name], []).append(name)
            elif not rule.get("args"):
                decided[name] = number, rule["action"]
        for (earlier, action), names in late.items():
            level = INFO if action == rule["action"] and not rule.get("args") else WARNING
            message = f"Never reached for {_list(names)}: rule {earlier} decides first."
            yield Finding(level, f"syscalls[{number - 1}]", message, "Take the names out of one.", number)
    for number, rule in _numbered(rules):
        if rule["action"] != rules["defaultAction"] or why_dropped(rule):
            continue
        if idle := [name for name in dict.fromkeys(names_of(rule)) if mentions[name] == 1]:
            message = f"Changes nothing for {_list(idle)}: the default does the same."
            yield Finding(INFO, f"syscalls[{number - 1}]", message, rule=number)


def _on_the_runner(rules: Json) -> Iterator[Finding]:
    found = outcomes(rules)
    for name, reason in RUNNER_NEEDS.items():
        if always_denied(found[name]):
            number = _who_denies(rules, name)
            fatal = name in ALWAYS_NEEDED and platform.machine() == "x86_64"
            yield Finding(
                ERROR if fatal else WARNING,
                f"syscalls[{number - 1}]" if number else "defaultAction",
                f"{name} is denied: {reason}.",
                f"Allow {name}." if fatal else f"Allow {name}, unless the probe says that nothing breaks.",
                number,
                name,
            )


def _who_denies(rules: Json, name: str) -> int | None:
    for number, rule in _numbered(rules):
        if name in names_of(rule) and rule["action"] != ALLOW and not why_dropped(rule):
            return number
    return None


def _list(names: list[Any]) -> str:
    shown = ", ".join(names[:MANY])
    return f"{shown} and {len(names) - MANY} more" if len(names) > MANY else shown
