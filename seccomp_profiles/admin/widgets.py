"""The editor of a profile's rules: as rows of fields, or as JSON, whichever its user prefers."""

import json
from collections.abc import Mapping
from typing import Any

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from sandbox_platform.kit.forms import TEXTAREA
from seccomp_profiles import revisions
from seccomp_profiles.findings import Finding
from seccomp_profiles.rows import NotRows, Rows, empty_rule, read, rows
from seccomp_profiles.rules import OPERATORS, WORDS
from seccomp_profiles.syscalls import describe, known, table

FORM, JSON = "form", "json"
ACTIONS = {
    "SCMP_ACT_ALLOW": "allow",
    "SCMP_ACT_ERRNO": "deny: the call fails with EPERM",
    "SCMP_ACT_KILL": "kill the program",
    "SCMP_ACT_TRAP": "SIGSYS, which kills a program that does not handle it",
    "SCMP_ACT_TRACE": "trace: the call is told not to exist",
}
COMPARISONS = {
    "SCMP_CMP_EQ": "= equals",
    "SCMP_CMP_NE": "≠ is not",
    "SCMP_CMP_LT": "< is below",
    "SCMP_CMP_LE": "≤ is at most",
    "SCMP_CMP_GT": "> is above",
    "SCMP_CMP_GE": "≥ is at least",
    "SCMP_CMP_MASKED_EQ": "& under a mask",
}
if set(ACTIONS) != set(WORDS) or set(COMPARISONS) != set(OPERATORS):
    raise AssertionError("an action or a comparison without words")


class RulesWidget(TEXTAREA):  # type: ignore[misc]
    """Its value is JSON text, from wherever it came."""

    template = "admin/seccomp_profiles/seccompprofile/rules_editor.html"

    def __init__(self, attrs: Any = None, mode: str = FORM) -> None:
        self.mode = mode
        super().__init__(attrs)

    class Media:
        js = ("seccomp_profiles/rules.js",)

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> Any:
        """A caller that names no editor sends JSON."""
        self.mode = FORM if data.get(f"{name}-editor") == FORM else JSON
        if self.mode == JSON:
            return data.get(name)
        try:
            rules = read(data, name)
        except ValueError as e:
            return f"The fields are no rules: {e}"  # which is no JSON
        return "" if rules is None else json.dumps(rules)

    def value_omitted_from_data(self, data: Mapping[str, Any], files: Any, name: str) -> bool:
        return name not in data and f"{name}-editor" not in data

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        shown, problem, found = _as_rows(value, name)
        context = {
            "name": name,
            "json": super().render(name, value, attrs, renderer),
            "mode": FORM if self.mode == FORM and shown else JSON,
            "rows": shown,
            "problem": problem,
            "rules": [_with(row, found) for row in shown.rules] if shown else [],
            "general": [finding for finding in found if not finding.rule],
            "empty": _with(empty_rule(name, "RULE"), []),
            "actions": ACTIONS,
            "comparisons": COMPARISONS,
            "indexes": list("012345"),
            "calls": [call for call in table().values() if call.known],
        }
        return render_to_string(self.template, context)


def _as_rows(value: Any, name: str) -> tuple[Rows | None, str, list[Finding]]:
    """The rows, or why there are none; and what there is to say about the rules."""
    try:
        rules = json.loads(value) if value else None
        return rows(rules, name), "", revisions.check(rules) if rules else []
    except NotRows as e:
        return None, f"Only as JSON: {e}.", []
    except (TypeError, ValueError, RecursionError):
        return None, "Only as JSON, until it is valid JSON.", []


def _with(row: Any, found: list[Finding]) -> dict[str, Any]:
    return {
        "row": row,
        "findings": [finding for finding in found if row.number and finding.rule == row.number],
        "names": [(name, describe(name) or _not_known(name)) for name in row.names],
    }


def _not_known(name: str) -> str:
    return "" if name in known() else "no system call that is known here"
