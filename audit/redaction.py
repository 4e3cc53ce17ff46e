"""Cuts secrets out of what is stored.

RE2 matches in time linear in the text, whatever pattern an administrator writes and whatever a program prints.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from uuid import UUID

import re2
from django.db.models import Exists

from executions.models import Execution

logger = logging.getLogger(__name__)

# Patterns and policies are read this often at most, so that an execution costs no query for them.
KEPT_S = 10.0
WITHHELD = "[withheld: a redaction pattern is not usable]"
UNREADABLE = "[withheld: not readable as JSON]"
# Of a compiled pattern: enough for an alternation of hundreds of words.
MEMORY = 8 * 1024 * 1024

TEXTS = ("code", "stdin", "stdout", "stderr", "message")
JSON_TEXTS = ("arguments", "result")
VALUES = ("argv", "variables")

SHIPPED: dict[str, str] = {
    "AWS access key id": r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
    "AWS secret access key": r"(?i)aws_?secret_?access_?key['\"]?\s{0,3}[:=]\s{0,3}['\"]?[A-Za-z0-9/+=]{40}",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b",
    "GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    "API key (sk-…)": r"\bsk-[A-Za-z0-9_-]{20,}",
    "Google API key": r"\bAIza[A-Za-z0-9_-]{35}",
    "Bearer token": r"(?i)\bbearer\s+[A-Za-z0-9._~+/-]{16,}=*",
    "JSON Web Token": r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+",
    "Private key": r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
    "Password in a URL": r"\b[a-z][a-z0-9+.-]*://[^\s:/@]+:[^\s:/@]+@",
}


class PatternError(Exception):
    pass


def compile_pattern(regex: str) -> Any:
    options = re2.Options()
    options.max_mem = MEMORY
    options.log_errors = False
    try:
        pattern = re2.compile(regex.encode(), options)
    except (re2.error, UnicodeEncodeError) as e:
        reason = e.args[0].decode() if isinstance(e.args[0], bytes) else e
        raise PatternError(f"Not a regular expression in RE2's syntax: {reason}") from e
    if pattern.search(b""):
        raise PatternError("It matches the empty text: every character would be replaced. Make it longer.")
    return pattern


def create_missing() -> list[str]:
    """The names of the shipped patterns that were not there yet. Once created, they are the administrator's."""
    from audit.models import RedactionPattern

    return [
        name
        for name, regex in SHIPPED.items()
        if RedactionPattern.objects.get_or_create(name=name, defaults={"regex": regex})[1]
    ]


class Redactor:
    def __init__(self, patterns: list[tuple[str, str]]) -> None:
        """Of regular expressions and what replaces their matches. With one that is not usable, nothing is
        stored: there is no telling what it was to cut out."""
        self._patterns: list[tuple[Any, bytes]] = []
        self._usable = True
        for regex, replacement in patterns:
            try:
                self._patterns.append((compile_pattern(regex), replacement.encode("utf-8", "replace")))
            except PatternError:
                logger.error("a redaction pattern is not usable: what it should be applied to is not stored")
                self._usable = False

    def text(self, text: str) -> str:
        if not self._usable:
            return WITHHELD if text else text
        content = text.encode("utf-8", "surrogatepass")
        for pattern, replacement in self._patterns:
            content = pattern.sub(lambda _match, literal=replacement: literal, content)
        return content.decode("utf-8", "replace")

    def json_text(self, text: str) -> str:
        """Each string by itself: in JSON's own text a key's line ends are escapes, and a replacement might not
        be JSON."""
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
        """Of an execution: those of the values that may hold secrets, redacted."""
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
        from audit.models import RedactionPattern, RetentionPolicy

        by_client: dict[int | None, bool] = {
            policy.client_id: policy.redact for policy in RetentionPolicy.objects.only("client", "redact")
        }
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
            if self.rules is None or self.clock() - self.read_at > KEPT_S:
                self.rules, self.read_at = _Rules.read(), self.clock()
            return self.rules

    def forget(self) -> None:
        with self.lock:
            self.rules = None


cache = _Cache()


def applies_to(client_id: int | None) -> bool:
    return cache.get().redactor_of(client_id) is not None


def anybodys() -> Exists:
    """Whether any policy redacts, for a statement that is made anyway: if none does, a run reads nothing here."""
    from audit.models import RetentionPolicy

    return Exists(RetentionPolicy.objects.filter(redact=True))


def redact_new(execution: Execution) -> None:
    """Of an execution that ends before it began: nobody needs its original."""
    if redactor := cache.get().redactor_of(execution.client_id):
        for name, value in redactor.fields(vars(execution)).items():
            setattr(execution, name, value)


def redacted_end(execution_id: UUID, values: dict[str, Any]) -> dict[str, Any]:
    """What to write beside, or instead of, the values that end an execution. The program ran with the original,
    which was in the row until now."""
    rules = cache.get()
    if not any(rules.by_client.values()):
        return {}
    names = ("client_id", "code", "stdin", "arguments", *VALUES)
    stored = Execution.objects.filter(pk=execution_id).values(*names).first()
    redactor = rules.redactor_of(stored["client_id"]) if stored else None
    return redactor.fields(stored | values) if stored and redactor else {}
