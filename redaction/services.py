"""Redact secrets in executions before they become final. See redaction.patterns for the syntax of patterns."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from redaction.models import RedactionPattern
from redaction.patterns import SHIPPED, PatternError, compile_pattern
from redaction.policies import redacts_by_client

logger = logging.getLogger(__name__)

# Patterns and policies are cached for this long, so that most executions make no query for them.
CACHE_S = 10.0
WITHHELD = "[withheld: a redaction pattern is not usable]"
UNREADABLE = "[withheld: not readable as JSON]"

TEXTS = ("code", "stdin", "stdout", "stderr", "message")
JSON_TEXTS = ("arguments", "result")
VALUES = ("argv", "variables")


def create_missing() -> list[str]:
    """Create the shipped patterns that do not exist, and return their names. Existing ones are never changed."""
    return [
        name
        for name, regex in SHIPPED.items()
        if RedactionPattern.objects.get_or_create(name=name, defaults={"regex": regex})[1]
    ]


class Redactor:
    def __init__(self, patterns: list[tuple[str, str]]) -> None:
        """Make a redactor of (regex, replacement) pairs.

        If one regex is not usable, all texts are withheld: nobody knows what it was meant to remove.
        """
        self._patterns: list[tuple[Any, bytes]] = []
        self._usable = True
        for regex, replacement in patterns:
            try:
                self._patterns.append((compile_pattern(regex), replacement.encode("utf-8", "replace")))
            except PatternError:
                logger.error("a redaction pattern is not usable: the texts it applies to are withheld")
                self._usable = False

    def text(self, text: str) -> str:
        if not self._usable:
            return WITHHELD if text else text
        content = text.encode("utf-8", "surrogatepass")
        for pattern, replacement in self._patterns:
            content = pattern.sub(lambda _match, literal=replacement: literal, content)
        return content.decode("utf-8", "replace")

    def json_text(self, text: str) -> str:
        """Redact each string in a JSON text by itself.

        In the raw text, line breaks are escaped, so patterns would miss them; and a replacement might break the JSON.
        """
        try:
            return json.dumps(self.value(json.loads(text)))
        except (ValueError, RecursionError):
            return json.dumps(UNREADABLE)

    def value(self, value: Any) -> Any:
        match value:
            case str():
                return self.text(value)
            case list():
                return [self.value(item) for item in value]
            case dict():
                return {self.text(name): self.value(item) for name, item in value.items()}
            case _:
                return value

    def fields(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return those of an execution's values that may hold secrets, redacted."""
        redacted: dict[str, Any] = {name: self.text(values[name]) for name in TEXTS if values.get(name)}
        redacted |= {name: self.json_text(values[name]) for name in JSON_TEXTS if values.get(name)}
        redacted |= {name: self.value(values[name]) for name in VALUES if values.get(name)}
        return redacted


@dataclass
class _Rules:
    by_client: dict[int | None, bool]
    redactor: Redactor

    @classmethod
    def read(cls) -> "_Rules":
        by_client = redacts_by_client()
        patterns: list[tuple[str, str]] = []
        if any(by_client.values()):
            patterns = list(RedactionPattern.objects.filter(enabled=True).values_list("regex", "replacement"))
        return cls(by_client, Redactor(patterns))

    def redactor_of(self, client_id: int | None) -> Redactor | None:
        wanted = self.by_client.get(client_id, self.by_client.get(None, False))
        return self.redactor if wanted else None


@dataclass
class _Cache:
    clock: Callable[[], float] = time.monotonic
    lock: Lock = field(default_factory=Lock)
    rules: _Rules | None = None
    read_at: float = 0.0

    def get(self) -> _Rules:
        with self.lock:
            if self.rules is None or self.clock() - self.read_at > CACHE_S:
                self.rules, self.read_at = _Rules.read(), self.clock()
            return self.rules

    def forget(self) -> None:
        with self.lock:
            self.rules = None


cache = _Cache()


def applies_to(client_id: int | None) -> bool:
    return cache.get().redactor_of(client_id) is not None


def redact_new(execution: Any) -> None:
    """Redact the fields of an execution that ends before it starts, so that its original text is not needed."""
    if redactor := cache.get().redactor_of(execution.client_id):
        for name, value in redactor.fields(vars(execution)).items():
            setattr(execution, name, value)


def redacted_end(
    read_stored: Callable[[tuple[str, ...]], dict[str, Any] | None], values: dict[str, Any]
) -> dict[str, Any]:
    """Return the redacted fields to write with, or instead of, the values that end an execution.

    The row holds the original text until now, because the program ran with it. `read_stored` reads the given columns
    of the row; it is called only if some policy redacts.
    """
    rules = cache.get()
    if not any(rules.by_client.values()):
        return {}
    stored = read_stored(("client_id", "code", "stdin", "arguments", *VALUES))
    redactor = rules.redactor_of(stored["client_id"]) if stored else None
    return redactor.fields(stored | values) if stored and redactor else {}
