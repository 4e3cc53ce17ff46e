"""Redact secrets in executions before they become final. See redaction.patterns for the syntax of patterns."""

import copy
import itertools
import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from redaction.models import RedactionPattern
from redaction.patterns import SHIPPED, PatternError, compile_pattern
from redaction.policies import redacts_by_client
from sandbox_platform.kit import formats

logger = logging.getLogger(__name__)

# Patterns and policies are cached for this long, so that most executions make no query for them.
CACHE_S = 10.0
WITHHELD = "[withheld: a redaction pattern is not usable]"
UNREADABLE = "[withheld: not readable as JSON]"

TEXTS = ("code", "stdin", "stdout", "stderr", "message", "source_file", "callback_url")
JSON_TEXTS = ("arguments", "result")
VALUES = ("argv", "variables", "labels", "policy_violations")
# At the end of a run, what its caller sent. The callback is delivered after the end, so its URL stays: one that would
# be redacted is refused at submission.
SENT = ("code", "stdin", "source_file", "arguments", *VALUES)


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
        if labels := values.get("labels"):
            own = {name: labels[name] for name in formats.own_labels(values.get("endpoint")) if name in labels}
            others = {name: value for name, value in labels.items() if name not in own}
            redacted["labels"] = self.value(others) | own
        if redacted.get("code", "") != values.get("code"):
            # Beside a redacted text, the hash of the original lets anybody guess what was removed. Lists are read
            # without the code, so what they show of an open execution may be such a hash.
            redacted["code_sha256"] = ""
        return redacted

    def names(self, names: Iterable[str]) -> dict[str, str]:
        """Return the redacted names of files by name, where they differ. Names stay different from each other."""
        names = list(names)
        taken, changed = set(names), dict[str, str]()
        for name in names:
            if (redacted := self.text(name)) != name:
                numbered = (redacted if not n else f"{redacted}-{n}" for n in itertools.count())
                changed[name] = next(each for each in numbered if each not in taken)
                taken.add(changed[name])
        return changed


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


def changes(client_id: int | None, text: str) -> bool:
    """Return whether redaction would change the text for this client."""
    return stored(client_id, text) != text


def stored(client_id: int | None, text: str) -> str:
    """Return the text as an ended execution of this client has it."""
    redactor = cache.get().redactor_of(client_id)
    return redactor.text(text) if redactor else text


def shown(execution: Any) -> Any:
    """Return the execution as it may be shown: an open one, whose row holds the original, as a redacted copy."""
    if execution.finished_at is not None or not applies_to(execution.client_id):
        return execution
    copied = copy.copy(execution)
    redact_new(copied)
    return copied


def shown_names(execution: Any, names: Iterable[str]) -> list[str]:
    """Return names of an execution's files as they may be shown, in order."""
    names = list(names)
    redactor = cache.get().redactor_of(execution.client_id) if execution.finished_at is None else None
    changed = redactor.names(names) if redactor else {}
    return [changed.get(name, name) for name in names]


def new_names(execution: Any, names: Iterable[str]) -> dict[str, str]:
    """Return the redacted names of the files of an execution that ends before it starts, where they differ."""
    redactor = cache.get().redactor_of(execution.client_id)
    return redactor.names(names) if redactor else {}


def redact_new(execution: Any) -> None:
    """Redact the fields of an execution that ends before it starts, so that its original text is not needed."""
    if redactor := cache.get().redactor_of(execution.client_id):
        for name, value in redactor.fields(vars(execution)).items():
            setattr(execution, name, value)


def redacted_end(
    read_stored: Callable[[tuple[str, ...]], dict[str, Any] | None], values: dict[str, Any]
) -> tuple[dict[str, Any], Redactor | None]:
    """Return the redacted fields to write with, or instead of, the values that end an execution, and their redactor.

    The row holds the original text until now, because the program ran with it. `read_stored` reads the given columns
    of the row; it is called only if some policy redacts.
    """
    rules = cache.get()
    if not any(rules.by_client.values()):
        return {}, None
    row = read_stored(("client_id", "endpoint", *SENT))
    redactor = rules.redactor_of(row["client_id"]) if row else None
    return (redactor.fields(row | values), redactor) if row and redactor else ({}, None)
