import json
import re
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

# Widgets for fields that a form declares itself: the theme styles only fields made from a model.
CHECKBOXES = UnfoldAdminCheckboxSelectMultipleWidget
SELECT = UnfoldAdminSelectWidget
TextInput = UnfoldAdminTextInputWidget
TEXTAREA = UnfoldAdminTextareaWidget
if TYPE_CHECKING:
    NumberInput = forms.NumberInput
else:
    NumberInput = UnfoldAdminIntegerFieldWidget

# A list of strings as json.dumps indents it, one per line. JSON escapes newlines, so no string contains one.
_TEXT = r'"(?:[^"\\]|\\.)*"'
_TEXT_LIST = re.compile(rf"\[\n\s+({_TEXT}(?:,\n\s+{_TEXT})*)\n\s+\]")


class PrettyJSONField(forms.JSONField):
    """A JSON field laid out for editing: indented, lists last, each list of strings on one line."""

    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except RecursionError as e:
            raise ValidationError("Nested too deeply.", code="invalid") from e

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            return super().bound_data(data, initial)
        except RecursionError:
            return forms.fields.InvalidJSONInput(data)  # the form shows the input unchanged

    def prepare_value(self, value: Any) -> Any:
        if value is None:
            return ""
        if not isinstance(value, dict):
            return super().prepare_value(value)
        ordered = dict(sorted(value.items(), key=lambda item: isinstance(item[1], list)))
        text = json.dumps(ordered, indent=2, ensure_ascii=False)
        return _TEXT_LIST.sub(_on_one_line, text)


def _on_one_line(match: re.Match[str]) -> str:
    return "[" + re.sub(r",\n\s+", ", ", match[1]) + "]"


def json_field(rows: int, **options: Any) -> PrettyJSONField:
    widget = TEXTAREA(attrs={"rows": rows, "class": "json", "spellcheck": "false"})
    return PrettyJSONField(widget=widget, required=False, **options)
