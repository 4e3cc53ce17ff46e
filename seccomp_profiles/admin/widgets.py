"""The editor of a profile's rules, as rows of fields or as JSON. The user can switch between the two."""

import json
from collections.abc import Mapping
from typing import Any

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from sandbox_platform.kit.forms import TEXTAREA
from seccomp_profiles import revisions
from seccomp_profiles.findings import Finding
from seccomp_profiles.rows import NotRows, Rows, empty_rule, rules_from_fields, rules_to_rows
from seccomp_profiles.rules import ACTION_WORDS, OPERATORS
from seccomp_profiles.syscalls import describe, known, table

FORM, JSON = "form", "json"
ACTIONS = {
    "SCMP_ACT_ALLOW": "allow",
    "SCMP_ACT_ERRNO": "deny: the call fails with EPERM",
    "SCMP_ACT_KILL": "kill the program",
    "SCMP_ACT_TRAP": "trap: send SIGSYS, which kills a program that does not handle it",
    "SCMP_ACT_TRACE": "trace: the call fails with ENOSYS",
}
COMPARISONS = {
    "SCMP_CMP_EQ": "= equals",
    "SCMP_CMP_NE": "≠ is not",
    "SCMP_CMP_LT": "< is below",
    "SCMP_CMP_LE": "≤ is at most",
    "SCMP_CMP_GT": "> is above",
    "SCMP_CMP_GE": "≥ is at least",
    "SCMP_CMP_MASKED_EQ": "& equals under a mask",
}
if set(ACTIONS) != set(ACTION_WORDS) or set(COMPARISONS) != set(OPERATORS):
    raise AssertionError("an action or a comparison has no label")


class RulesWidget(TEXTAREA):  # type: ignore[misc]
    """The value is JSON text, whether it was edited as rows or as JSON."""

    template = "admin/seccomp_profiles/seccompprofile/rules_editor.html"

    def __init__(self, attrs: Any = None, mode: str = FORM) -> None:
        self.mode = mode
        super().__init__(attrs)

    class Media:
        js = ("seccomp_profiles/rules.js",)

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> Any:
        """Return the rules as JSON text. Without a field that names the editor, the data is taken as JSON."""
        self.mode = FORM if data.get(f"{name}-editor") == FORM else JSON
        if self.mode == JSON:
            return data.get(name)
        try:
            rules = rules_from_fields(data, name)
        except ValueError as e:
            return f"The fields are not valid rules: {e}"  # not JSON, so the form refuses it
        return "" if rules is None else json.dumps(rules)

    def value_omitted_from_data(self, data: Mapping[str, Any], files: Any, name: str) -> bool:
        return name not in data and f"{name}-editor" not in data

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        rows, problem, found = _as_rows(value, name)
        context = {
            "name": name,
            "json": super().render(name, value, attrs, renderer),
            "mode": FORM if self.mode == FORM and rows else JSON,
            "rows": rows,
            "problem": problem,
            "rules": [_with_findings(row, found) for row in rows.rules] if rows else [],
            "general": [finding for finding in found if not finding.rule],
            "empty": _with_findings(empty_rule(name, "RULE"), []),
            "actions": ACTIONS,
            "comparisons": COMPARISONS,
            "indexes": list("012345"),
            "calls": [call for call in table().values() if call.known],
        }
        return render_to_string(self.template, context)


def _as_rows(value: Any, name: str) -> tuple[Rows | None, str, list[Finding]]:
    """Return the rows, or None with the reason; and the findings about the rules."""
    try:
        rules = json.loads(value) if value else None
        return rules_to_rows(rules, name), "", revisions.check(rules) if rules else []
    except NotRows as e:
        return None, f"These rules can only be edited as JSON: {e}.", []
    except (TypeError, ValueError, RecursionError):
        return None, "The text is not valid JSON. Correct it to edit it as rows.", []


def _with_findings(row: Any, found: list[Finding]) -> dict[str, Any]:
    return {
        "row": row,
        "findings": [finding for finding in found if row.number and finding.rule == row.number],
        "names": [(name, describe(name) or _unknown_note(name)) for name in row.names],
    }


def _unknown_note(name: str) -> str:
    return "" if name in known() else "not a known system call"
