"""Derive the rules of a profile from its parent's rules and its own allow and deny lists."""

from collections.abc import Iterable

from seccomp_profiles.rules import ALLOW, DENY, Json, names_of


def derive(parent: Json | None, *, allow: Iterable[str], deny: Iterable[str]) -> Json | None:
    """Return the derived rules; None for no filter.

    A call in `allow` or `deny` no longer follows any rule of the parent, conditions on arguments included.
    """
    allowed, denied = sorted(set(allow)), sorted(set(deny))
    if not allowed and not denied:
        return parent
    rules: Json = dict(parent) if parent else {"defaultAction": ALLOW}
    changed = {*allowed, *denied}
    syscalls = [kept for rule in rules.get("syscalls") or () if (kept := _without(rule, changed))]
    allows = rules["defaultAction"] == ALLOW
    if allowed and not allows:
        syscalls.append({"names": allowed, "action": ALLOW})
    if denied and allows:
        syscalls.append({"names": denied, "action": DENY})
    return rules | {"syscalls": syscalls}


def _without(rule: Json, names: set[str]) -> Json | None:
    left = [name for name in names_of(rule) if name not in names]
    return {key: value for key, value in rule.items() if key != "name"} | {"names": left} if left else None
