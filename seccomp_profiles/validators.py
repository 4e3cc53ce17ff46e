"""Validate a profile against what Docker and gVisor accept, before they see it.

Measured with Docker 26.1.5 and runsc 20240729. Each finding's message states the behaviour that was measured.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from django.core.exceptions import ValidationError

from seccomp_profiles import advice
from seccomp_profiles.findings import ERROR, LEVELS, WARNING, Finding
from seccomp_profiles.rules import ACTION_WORDS, OPERATORS

UINT64 = 2**64
KERNEL = re.compile(r"[0-9]{1,5}\.[0-9]{1,5}")
# With one of these the container fails to start ("invalid action").
REFUSED_ACTIONS = {
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
}
TOP_KEYS = (
    "defaultAction", "defaultErrnoRet", "architectures", "archMap", "flags", "listenerPath", "listenerMetadata",
    "syscalls",
)  # fmt: skip
ARCHITECTURE_KEYS = ("architecture", "subArchitectures")
RULE_KEYS = ("names", "name", "action", "errnoRet", "args", "comment", "includes", "excludes")
ARG_KEYS = ("index", "value", "valueTwo", "op")
FILTER_KEYS = ("arches", "caps", "minKernel")


def findings(rules: Any) -> list[Finding]:
    """Return the findings about rules, errors first. Advice is added only if there are no errors.

    An error marks a rule that keeps sandboxes from starting, or that means something else than it seems to say.
    """
    if rules is None:
        return []
    found = list(_profile(rules))
    if any(finding.level == ERROR for finding in found):
        return found
    found += advice.advice_on_rules(rules)
    return sorted(found, key=lambda finding: (LEVELS.index(finding.level), finding.rule or 0))


def validate_profile(rules: Any) -> None:
    """Raise ValidationError with one message for each error; a message names its rule."""
    if errors := [finding for finding in findings(rules) if finding.level == ERROR]:
        raise ValidationError([str(error) for error in errors])


def _profile(rules: Any) -> Iterator[Finding]:
    if not isinstance(rules, dict):
        yield Finding(ERROR, "", "The profile must be a JSON object with defaultAction and syscalls.")
        return
    yield from _keys(rules, TOP_KEYS, "", None)
    yield from _action(rules.get("defaultAction"), "defaultAction", None)
    yield from _errno(rules, "defaultErrnoRet", "", None)
    for key in ("architectures", "flags"):
        yield from _texts(rules.get(key), key, None)
    for key in ("listenerPath", "listenerMetadata"):
        yield from _text(rules.get(key), key, None)
    yield from _architectures(rules.get("archMap"))
    if rules.get("architectures") and rules.get("archMap"):
        yield Finding(ERROR, "archMap", "Docker accepts either architectures or archMap, not both.", "Remove one.")
    syscalls = rules.get("syscalls")
    if syscalls is not None and not isinstance(syscalls, list):
        yield Finding(ERROR, "syscalls", "must be a list of rules.")
        return
    for number, rule in enumerate(syscalls or (), 1):
        yield from _rule(rule, number)


def _architectures(value: Any) -> Iterator[Finding]:
    if value is None:
        return
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        yield Finding(ERROR, "archMap", "must be a list of objects with architecture and subArchitectures.")
        return
    for index, entry in enumerate(value):
        path = f"archMap[{index}]"
        yield from _keys(entry, ARCHITECTURE_KEYS, f"{path}.", None)
        yield from _text(entry.get("architecture"), f"{path}.architecture", None)
        yield from _texts(entry.get("subArchitectures"), f"{path}.subArchitectures", None)


def _rule(rule: Any, number: int) -> Iterator[Finding]:
    path = f"syscalls[{number - 1}]"
    if not isinstance(rule, dict):
        yield Finding(ERROR, path, "must be an object with names and action.", rule=number)
        return
    yield from _keys(rule, RULE_KEYS, f"{path}.", number)
    yield from _names(rule, path, number)
    yield from _action(rule.get("action"), f"{path}.action", number)
    yield from _errno(rule, "errnoRet", f"{path}.", number)
    yield from _text(rule.get("comment"), f"{path}.comment", number)
    for key in ("includes", "excludes"):
        yield from _filter(rule.get(key), f"{path}.{key}", number)
    args = rule.get("args")
    if args is not None and not isinstance(args, list):
        yield Finding(ERROR, f"{path}.args", "must be a list of conditions.", rule=number)
        return
    for index, arg in enumerate(args or ()):
        yield from _arg(arg, f"{path}.args[{index}]", number)


def _names(rule: dict[str, Any], path: str, number: int) -> Iterator[Finding]:
    names, name = rule.get("names"), rule.get("name")
    if name is not None and not (isinstance(name, str) and name):
        yield Finding(ERROR, f"{path}.name", "must be the name of a system call.", rule=number)
    elif name and names:
        yield Finding(
            ERROR,
            f"{path}.name",
            "Docker accepts either name or names, not both.",
            "Move the name into names.",
            number,
        )
    elif (names is not None or not name) and not _is_list_of_names(names, empty=bool(name)):
        yield Finding(ERROR, f"{path}.names", "must be a list of system call names.", rule=number)


def _is_list_of_names(names: Any, *, empty: bool) -> bool:
    return isinstance(names, list) and (bool(names) or empty) and all(isinstance(n, str) and n for n in names)


def _arg(arg: Any, path: str, number: int) -> Iterator[Finding]:
    if not isinstance(arg, dict):
        yield Finding(ERROR, path, "must be an object with index, value and op.", rule=number)
        return
    yield from _keys(arg, ARG_KEYS, f"{path}.", number)
    if not isinstance(op := arg.get("op"), str) or op not in OPERATORS:
        yield Finding(ERROR, f"{path}.op", f"must be one of {', '.join(OPERATORS)}.", rule=number)
    if not _is_whole(arg.get("index", 0), 6):
        yield Finding(ERROR, f"{path}.index", "must be 0 to 5: a call has six arguments.", rule=number)
    for key in ("value", "valueTwo"):
        if not _is_whole(arg.get(key, 0), UINT64):
            yield Finding(ERROR, f"{path}.{key}", "must be a whole number from 0 to 2^64 - 1.", rule=number)


def _filter(value: Any, path: str, number: int) -> Iterator[Finding]:
    if value is None:
        return
    if not isinstance(value, dict):
        yield Finding(ERROR, path, "must be an object with arches, caps or minKernel.", rule=number)
        return
    yield from _keys(value, FILTER_KEYS, f"{path}.", number)
    for key in ("arches", "caps"):
        yield from _texts(value.get(key), f"{path}.{key}", number)
    kernel = value.get("minKernel")
    if kernel is not None and not (isinstance(kernel, str) and KERNEL.fullmatch(kernel)):
        yield Finding(ERROR, f"{path}.minKernel", 'must be a string like "4.8".', rule=number)


def _action(action: Any, path: str, number: int | None) -> Iterator[Finding]:
    if isinstance(action, str) and action in REFUSED_ACTIONS:
        yield Finding(
            ERROR, path, f"gVisor does not start a container with {action}.", "Use SCMP_ACT_ERRNO.", number
        )
    elif not isinstance(action, str) or action not in ACTION_WORDS:
        yield Finding(ERROR, path, f"must be one of {', '.join(sorted(ACTION_WORDS))}.", rule=number)


def _errno(holder: dict[str, Any], key: str, prefix: str, number: int | None) -> Iterator[Finding]:
    if (value := holder.get(key)) is None:
        return
    if not _is_whole(value, 2**16):
        yield Finding(ERROR, f"{prefix}{key}", "must be a whole number from 0 to 65535.", rule=number)
    elif value != 1:
        yield Finding(
            WARNING,
            f"{prefix}{key}",
            f"{value} is ignored: under gVisor a denied call always gets EPERM (1).",
            "Remove it.",
            number,
        )


def _keys(value: dict[str, Any], known: tuple[str, ...], prefix: str, number: int | None) -> Iterator[Finding]:
    by_lower = {key.lower(): key for key in known}
    for key in value:
        if key in known:
            continue
        if meant := by_lower.get(key.lower()):
            # Docker ignores the case of keys, but a person who reads the profile may take this for another key.
            yield Finding(ERROR, f"{prefix}{key}", f"Docker reads this key as {meant}.", f"Write {meant}.", number)
        else:
            yield Finding(WARNING, f"{prefix}{key}", "Docker does not know this key and ignores it.", "", number)


def _texts(value: Any, path: str, number: int | None) -> Iterator[Finding]:
    if value is not None and not (isinstance(value, list) and all(isinstance(text, str) for text in value)):
        yield Finding(ERROR, path, "must be a list of strings.", rule=number)


def _text(value: Any, path: str, number: int | None) -> Iterator[Finding]:
    if value is not None and not isinstance(value, str):
        yield Finding(ERROR, path, "must be a string.", rule=number)


def _is_whole(value: Any, below: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below


def findings_for_changes(allow: Iterable[str], deny: Iterable[str], effective: Any) -> list[Finding]:
    """Return the findings about a derived profile: about its lists, and about runner calls that the result denies."""
    found = advice.advice_on_changes(set(allow), set(deny))
    if any(finding.level == ERROR for finding in found):
        return found
    return found + [finding for finding in findings(effective) if finding.syscall in advice.RUNNER_NEEDS]
