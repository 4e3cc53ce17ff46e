"""Compare two profiles by their effect on programs."""

from dataclasses import asdict, dataclass, field
from typing import Any

from seccomp_profiles.rules import ALLOW, Json, Outcome, always_denied, in_words, outcomes
from seccomp_profiles.syscalls import describe


@dataclass(frozen=True)
class Change:
    syscall: str
    before: str
    after: str
    description: str


@dataclass(frozen=True)
class Diff:
    allowed: list[Change] = field(default_factory=list)  # newly allowed without a condition
    denied: list[Change] = field(default_factory=list)  # newly denied whatever the arguments
    changed: list[Change] = field(
        default_factory=list
    )  # another change: of the condition or of the kind of refusal

    def __bool__(self) -> bool:
        return bool(self.allowed or self.denied or self.changed)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def diff(before: Json | None, after: Json | None) -> Diff:
    old, new = outcomes(before), outcomes(after)
    found = Diff()
    for name in sorted(new):
        if old[name] != new[name]:
            change = Change(name, in_words(old[name]), in_words(new[name]), describe(name))
            _section(found, old[name], new[name]).append(change)
    return found


def _section(found: Diff, old: Outcome, new: Outcome) -> list[Change]:
    if len(new) == 1 and new[0].action == ALLOW:
        return found.allowed
    if always_denied(new) and not always_denied(old):
        return found.denied
    return found.changed
