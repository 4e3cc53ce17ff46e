"""RAGFlow's checks of a program before it runs, as a lint. Each rule can be disabled.

The barrier is gVisor, not this. The rules exist so that RAGFlow's callers get the verdicts that RAGFlow gives:
`import posix`, `importlib.import_module(...)` and `require('node:child_process')` pass, as in RAGFlow.
"""

from collections.abc import Collection
from itertools import islice

from . import javascript, python
from .rules import MAX_VIOLATIONS, RULES, Rule, Violation

__all__ = ["MAX_VIOLATIONS", "RULES", "Rule", "Violation", "check"]

_FINDERS = {"python": python.find, "nodejs": javascript.find}


def check(code: str, language: str, disabled_rules: Collection[str] = ()) -> list[Violation]:
    """Return the violations of the enabled rules, in RAGFlow's order; [] for a language without rules. Never raises."""
    find = _FINDERS.get(language)
    if find is None:
        return []
    return list(islice(find(code, RULES.keys() - set(disabled_rules)), MAX_VIOLATIONS))
