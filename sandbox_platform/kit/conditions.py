"""Conditions that rules of alerts watch. Each app declares its conditions in a module named `conditions`.

A condition reads figures that its room has anyway, and returns every subject that meets it now: a client, a runtime, a
node. Each subject has an alert of its own, which opens and resolves by itself (alerts/transitions.py).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.utils.module_loading import autodiscover_modules

from sandbox_platform.kit.services import Service
from sandbox_platform.kit.units import exact, format_bytes, format_ms

Values = dict[str, Any]
LONGEST_SUBJECT, LONGEST_DETAIL, LONGEST_LINK = 200, 300, 300
INFO, WARNING, CRITICAL = "info", "warning", "critical"
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000


@dataclass(frozen=True)
class Finding:
    """A subject that meets a condition now.

    `subject`: what it is about, the same at each evaluation: "client ragflow". `value`: in the condition's unit.
    `detail`: a sentence for the message. `link`: a path of the console. None of them may hold code or output of a
    program, a label, or a name that somebody typed at the login: they leave the platform by mail and webhook.
    """

    subject: str
    value: float
    detail: str
    link: str = ""

    @property
    def bounded(self) -> "Finding":
        """Return the finding with its texts on one line each, and no longer than their columns."""
        subject, detail = " ".join(self.subject.split()), " ".join(self.detail.split())
        return Finding(subject[:LONGEST_SUBJECT], self.value, detail[:LONGEST_DETAIL], self.link[:LONGEST_LINK])


@dataclass(frozen=True)
class Parameter:
    """A whole number that a rule sets. `unit`: "ms", "bytes", "%" or what is counted."""

    name: str
    label: str
    default: int
    minimum: int
    maximum: int
    unit: str = ""
    help_text: str = ""

    def read(self, value: object) -> int:
        """Return the value. Raises ValueError with the bounds."""
        if type(value) is not int or not self.minimum <= value <= self.maximum:
            raise ValueError(
                f"{self.label}: write a whole number from {self.words(self.minimum)} to {self.words(self.maximum)}."
            )
        return value

    def words(self, value: int) -> str:
        if self.unit in ("ms", "bytes"):
            return exact(value, self.unit)
        return f"{value:,} {self.unit}".strip()


@dataclass(frozen=True)
class Choice:
    """One of some values that a rule chooses. `choices`: label by value."""

    name: str
    label: str
    default: str
    choices: Mapping[str, str]
    help_text: str = ""

    def read(self, value: object) -> str:
        """Return the value. Raises ValueError with the choices."""
        if not isinstance(value, str) or value not in self.choices:
            raise ValueError(f"{self.label}: choose one of {', '.join(self.choices)}.")
        return value

    def words(self, value: str) -> str:
        return self.choices.get(value, value)


@dataclass(frozen=True)
class ShippedRule:
    """A rule that is on from the start. `key`: never changes, so that a deleted rule does not come back."""

    key: str
    name: str
    severity: str = WARNING
    pending_ms: int = 0
    parameters: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Condition:
    """What a rule watches.

    `name`: stored in rules, never changes. `evaluate`: takes a value for each parameter and returns what meets the
    condition now; it runs every minute in the process `evaluated_by`, as that service's role of the database.
    `unit`: of a finding's value: "ms", "bytes", "%", or what is counted.
    """

    name: str
    title: str
    purpose: str
    evaluate: Callable[[Values], Iterable[Finding]]
    parameters: tuple[Parameter | Choice, ...] = ()
    unit: str = ""
    evaluated_by: Service = Service.KEEPER
    shipped: tuple[ShippedRule, ...] = ()

    def values(self, stored: Mapping[str, Any]) -> Values:
        """Return a value for each parameter: the stored one, or the default. Raises ValueError."""
        return {each.name: each.read(stored.get(each.name, each.default)) for each in self.parameters}

    def in_words(self, value: float) -> str:
        if self.unit == "ms":
            return format_ms(value)
        if self.unit == "bytes":
            return format_bytes(value)
        return f"{value:,.10g} {self.unit}".strip()


_declared: dict[str, Condition] = {}


def declare(condition: Condition) -> Condition:
    if _declared.setdefault(condition.name, condition) != condition:
        raise ValueError(f"two conditions are named {condition.name!r}")
    return condition


def declared() -> dict[str, Condition]:
    """Return the conditions of all apps by name, in the order of INSTALLED_APPS."""
    _discover()
    return dict(_declared)


@cache
def _discover() -> None:
    """Import the modules once: pages ask for conditions row by row."""
    autodiscover_modules("conditions")
