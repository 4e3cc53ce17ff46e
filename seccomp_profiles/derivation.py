"""From a parent's rules and what is allowed and denied beside them to rules of one's own."""

from collections.abc import Iterable
from typing import Any

ALLOW, DENY = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"


def derive(parent: dict[str, Any] | None, *, allow: Iterable[str], deny: Iterable[str]) -> dict[str, Any] | None:
    """What is named here no longer follows the parent's rules, those on arguments included."""
    allowed, denied = sorted(set(allow)), sorted(set(deny))
    if not allowed and not denied:
        return parent
    rules = dict(parent) if parent else {"defaultAction": ALLOW}
    changed = {*allowed, *denied}
    syscalls = [kept for rule in rules.get("syscalls", ()) if (kept := _without(rule, changed))]
    allows = rules["defaultAction"] == ALLOW
    if allowed and not allows:
        syscalls.append({"names": allowed, "action": ALLOW})
    if denied and allows:
        syscalls.append({"names": denied, "action": DENY})
    return rules | {"syscalls": syscalls}


def _without(rule: dict[str, Any], names: set[str]) -> dict[str, Any] | None:
    left = [name for name in rule["names"] if name not in names]
    return rule | {"names": left} if left else None
