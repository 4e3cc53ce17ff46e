"""RAGFlow's checks of a program before it runs, as a lint. Each rule can be disabled.

The barrier is gVisor, not this. The rules exist so that RAGFlow's callers get the verdicts that RAGFlow gives:
`import posix`, `importlib.import_module(...)` and `require('node:child_process')` pass, as in RAGFlow.
"""

from collections.abc import Collection
from itertools import islice

from . import child, javascript, python
from .child import Busy
from .rules import MAX_VIOLATIONS, RULES, Rule, Violation

__all__ = ["Busy", "IN_PROCESS", "MAX_VIOLATIONS", "RULES", "Rule", "Violation", "check"]

# A tree of this much text takes 30 MB at worst.
IN_PROCESS = 64 * 1024
_FINDERS = {"python": python.find, "nodejs": javascript.find}


def check(code: str, language: str, disabled_rules: Collection[str] = ()) -> list[Violation]:
    """Return the violations of the enabled rules, in RAGFlow's order; [] for a language without rules.

    Raises Busy if too many large programs are being checked, and nothing else.
    """
    find = _FINDERS.get(language)
    if find is None:
        return []
    enabled = RULES.keys() - set(disabled_rules)
    if find is python.find and len(code) > IN_PROCESS:
        from django.conf import settings  # the child, which imports this package, has no Django

        return child.find(code, enabled, settings.SANDBOX_POLICY_MEMORY_BYTES)
    return list(islice(find(code, enabled), MAX_VIOLATIONS))
