"""RAGFlow's checks of a program before it runs, as a lint: each rule can be switched off.

This is not the barrier (gVisor is). It is here so that RAGFlow's callers get the verdicts they are used to:
`import posix`, `importlib.import_module(...)` and `require('node:child_process')` pass, as they do there.
"""

from collections.abc import Collection
from itertools import islice

from . import javascript, python
from .rules import MAX_VIOLATIONS, RULES, Rule, Violation

__all__ = ["MAX_VIOLATIONS", "RULES", "Rule", "Violation", "check"]

_FINDERS = {"python": python.find, "nodejs": javascript.find}


def check(code: str, language: str, disabled_rules: Collection[str] = ()) -> list[Violation]:
    """What the enabled rules object to, in RAGFlow's order; a language without rules passes. Never raises."""
    find = _FINDERS.get(language)
    if find is None:
        return []
    return list(islice(find(code, RULES.keys() - set(disabled_rules)), MAX_VIOLATIONS))
