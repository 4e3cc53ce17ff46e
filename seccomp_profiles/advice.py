"""Advice on a valid profile: rules that have no effect, and rules that will break programs or the runner."""

import difflib
import platform
from collections.abc import Iterable, Iterator
from typing import Any

from seccomp_profiles.findings import ERROR, INFO, WARNING, Finding
from seccomp_profiles.rules import ALLOW, Json, always_denied, names_of, outcomes, why_dropped
from seccomp_profiles.syscalls import known, table

# System calls of the runner, which runs under the same profile as the program: see images/runner and docs/seccomp.md.
# Measured: without any one of ALWAYS_NEEDED, no sandbox of any runtime becomes ready. Under recent releases of gVisor
# sandboxes start without clone, but programs cannot fork.
DROPS_ROOT = "the runner becomes the user nobody before it starts the program"
RUNNER_NEEDS = {
    "setresuid": DROPS_ROOT,
    "setresgid": DROPS_ROOT,
    "setgroups": DROPS_ROOT,
    "clone": "the runner starts the process that becomes the program",
    "pipe2": "the runner talks to the program through pipes",
    "dup2": "the runner talks to the program through pipes",
    "setsid": "the runner gives the program a session of its own",
    "chdir": "the runner starts the program in /workspace",
    "poll": "the runner uses it to wait for the program",
    "kill": "the runner uses it to end processes that a program leaves behind",
    "clone3": "Node.js uses it to start threads",
    "execve": "the runner starts every interpreter with it; only an image without a runner can do without",
}
ALWAYS_NEEDED = frozenset(
    ("setresuid", "setresgid", "setgroups", "clone", "pipe2", "dup2", "setsid", "chdir", "poll")
)
MAX_LISTED = 8


def advice_on_rules(rules: Json) -> list[Finding]:
    return [
        *_on_the_whole(rules),
        *(finding for number, rule in _numbered(rules) for finding in _on_rule(rule, number)),
        *_on_repetitions(rules),
        *_on_the_runner(rules),
    ]


def advice_on_changes(allow: set[str], deny: set[str]) -> list[Finding]:
    """Return findings about the allow and deny lists of a derived profile."""
    found = [
        Finding(ERROR, "deny", f"{name} is also in the allow list.", "Remove it from one list.", syscall=name)
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
            yield Finding(INFO, key, "Ignored: gVisor only filters calls of the machine's own architecture.")
    for key in ("flags", "listenerPath", "listenerMetadata"):
        if rules.get(key):
            yield Finding(WARNING, key, "gVisor ignores this key.", "Remove it.")
    if rules["defaultAction"] == "SCMP_ACT_TRACE":
        yield _traced("defaultAction", None)


def _on_rule(rule: Json, number: int) -> Iterator[Finding]:
    path = f"syscalls[{number - 1}]"
    if why := why_dropped(rule):
        yield Finding(INFO, path, f"Docker drops this rule: {why}.", rule=number)
        return
    yield from _on_names(names_of(rule), f"{path}.names", number)
    if rule["action"] == "SCMP_ACT_TRACE":
        yield _traced(f"{path}.action", number)
    yield from _on_args(rule.get("args") or (), f"{path}.args", number)


def _traced(path: str, number: int | None) -> Finding:
    return Finding(
        INFO, path, "No tracer is attached: the call fails with ENOSYS, as if it did not exist.", rule=number
    )


def _on_names(names: list[str], path: str, number: int | None) -> Iterator[Finding]:
    linux = table()
    for name in sorted({name for name in names if name not in linux}):
        similar = difflib.get_close_matches(name, known(), 1)
        yield Finding(
            WARNING,
            path,
            f"{name} is not a Linux system call: gVisor skips it silently.",
            f"Did you mean {similar[0]}?" if similar else "Remove it.",
            number,
            name,
        )
    if skipped := sorted({name for name in names if name in linux and not linux[name].known}):
        message = f"gVisor does not implement {_list(skipped)}: the calls fail with or without a rule."
        yield Finding(INFO, path, message, rule=number)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        yield Finding(INFO, path, f"Named twice: {_list(twice)}.", "Remove the repetition.", number)


def _on_args(args: Iterable[Json], path: str, number: int) -> Iterator[Finding]:
    args = list(args)
    indexes = [arg.get("index", 0) for arg in args]
    if len(set(indexes)) < len(indexes):
        yield Finding(
            WARNING,
            path,
            "Two conditions on one argument: the rule applies if any of its conditions holds, instead of all.",
            "If that is not intended, split the rule in two.",
            number,
        )
    for index, arg in enumerate(args):
        value, two, masked = arg.get("value", 0), arg.get("valueTwo", 0), arg["op"] == "SCMP_CMP_MASKED_EQ"
        if "value" not in arg:
            yield Finding(
                WARNING, f"{path}[{index}].value", "Missing: it counts as 0.", "State the value.", number
            )
        if masked and two & ~value:
            remedy = "value is the mask; valueTwo is what the masked argument must equal."
            yield Finding(WARNING, f"{path}[{index}].valueTwo", "This never matches.", remedy, number)
        if not masked and two:
            yield Finding(
                INFO, f"{path}[{index}].valueTwo", "Ignored: only MASKED_EQ takes two values.", "", number
            )


def _on_repetitions(rules: Json) -> Iterator[Finding]:
    """Yield findings about rules that are never reached, and about rules that only repeat the default action."""
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
            yield Finding(level, f"syscalls[{number - 1}]", message, "Remove the names from one of them.", number)
    for number, rule in _numbered(rules):
        if rule["action"] != rules["defaultAction"] or why_dropped(rule):
            continue
        if idle := [name for name in dict.fromkeys(names_of(rule)) if mentions[name] == 1]:
            message = f"No effect for {_list(idle)}: the default action is the same."
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
                f"Allow {name}." if fatal else f"Allow {name}, unless a probe shows that nothing breaks.",
                number,
                name,
            )


def _who_denies(rules: Json, name: str) -> int | None:
    for number, rule in _numbered(rules):
        if name in names_of(rule) and rule["action"] != ALLOW and not why_dropped(rule):
            return number
    return None


def _list(names: list[Any]) -> str:
    shown = ", ".join(names[:MAX_LISTED])
    return f"{shown} and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else shown
