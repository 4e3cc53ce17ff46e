import re
from collections.abc import Collection, Iterator

from .rules import Violation

_MODULES = ("child_process", "fs", "worker_threads")

# Text patterns, as in RAGFlow: a match in a comment counts like a call. Each message has its own pattern, because
# RAGFlow reports violations by pattern first and by position second.
_PATTERNS = [
    *(
        ("nodejs.require", f"Require: {module}", re.compile(rf"require\s*\(\s*['\"`]{module}['\"`]\s*\)"))
        for module in _MODULES
    ),
    ("nodejs.eval", "Call: eval", re.compile(r"\beval\s*\(")),
    ("nodejs.function", "Call: Function", re.compile(r"\bFunction\s*\(")),
    ("nodejs.process-binding", "Call: process.binding", re.compile(r"\bprocess\s*\.\s*binding\s*\(")),
]


def find(code: str, enabled: Collection[str]) -> Iterator[Violation]:
    for rule, message, pattern in _PATTERNS:
        if rule not in enabled:
            continue
        line, position = 1, 0
        for match in pattern.finditer(code):
            line += code.count("\n", position, match.start())
            position = match.start()
            yield Violation(rule, line, message)
