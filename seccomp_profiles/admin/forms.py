import json
import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from sandbox_platform.kit.forms import TEXTAREA, PrettyJSONField, TextInput
from sandbox_platform.kit.generics import ModelForm
from seccomp_profiles import revisions
from seccomp_profiles.admin.widgets import RulesWidget
from seccomp_profiles.models import SeccompProfile, SeccompRevision

LARGEST_IMPORT = 1_000_000
CHANGES = ("rules", "allow", "deny")


class NamesField(forms.CharField):
    """Names of system calls, apart by spaces, commas or lines."""

    def __init__(self, help_text: str) -> None:
        widget = TEXTAREA(attrs={"rows": 4, "class": "json", "spellcheck": "false"})
        super().__init__(widget=widget, required=False, help_text=help_text)

    def prepare_value(self, value: Any) -> Any:
        return " ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return sorted({name for name in re.split(r"[\s,]+", value or "") if name})

    def clean(self, value: Any) -> Any:
        names = self.to_python(value)
        if wrong := [name for name in names if not re.fullmatch(r"[a-z0-9_]{1,100}", name)]:
            raise ValidationError(f"{wrong[0][:100]!r} is not the name of a system call.")
        return names

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(sorted(initial or ()) != self.to_python(data))


class SeccompProfileForm(ModelForm[SeccompProfile]):
    """Rules or, of a profile that extends another, what it changes: saved as the next revision."""

    rules = PrettyJSONField(
        widget=RulesWidget(
            attrs={"rows": 28, "class": "json", "spellcheck": "false", "aria-label": "Rules as JSON"}
        ),
        required=False,
        help_text=SeccompRevision._meta.get_field("rules").help_text,
    )
    imported = forms.FileField(
        required=False,
        label="Import",
        help_text="A profile as Docker takes it, as a file: instead of the rules above.",
    )
    allow = NamesField("System calls it allows although its parent denies them.")
    deny = NamesField("System calls it denies although its parent allows them.")
    note = forms.CharField(
        required=False, max_length=2000, widget=TextInput, help_text="Why: shown in the history of revisions."
    )

    class Meta:
        model = SeccompProfile
        fields = ("name", "description", "parent")
        widgets = {"description": TEXTAREA(attrs={"rows": 3})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.active:
            # A draft is gone on with, not started over.
            newest = self.instance.revisions.latest("number")
            self.initial.update({name: getattr(newest, name) for name in CHANGES})

    @property
    def is_changed(self) -> bool:
        """Whether there is a new revision in it."""
        return self.instance.active is None or bool({*CHANGES, "imported"} & set(self.changed_data))

    def clean_imported(self) -> Any:
        file = self.cleaned_data["imported"]
        if file is None:
            return None
        if file.size > LARGEST_IMPORT:
            raise ValidationError("A profile of more than a megabyte is none.")
        try:
            return json.loads(file.read().decode())
        except (ValueError, RecursionError) as e:
            raise ValidationError(f"Not a JSON file: {e}") from e

    def clean(self) -> dict[str, Any]:
        super().clean()
        values = self.cleaned_data
        if values.get("imported") is not None:
            values["rules"] = values["imported"]
        parent = self.instance.parent if self.instance.active else values.get("parent")
        if not self.errors:
            changes = {"allow": values.get("allow", ()), "deny": values.get("deny", ())}
            try:
                revisions.validate(storable(values.get("rules")), parent=parent, **changes)
            except ValidationError as e:
                fields = self.fields
                for field, messages in e.message_dict.items():
                    self.add_error(field if field in fields else None, messages)
        return values


def storable(rules: Any) -> Any:
    """Raises ValidationError for what Postgres cannot hold."""
    text = json.dumps(rules, ensure_ascii=False)
    if "\\u0000" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValidationError({"rules": "Holds NUL or lone surrogates, which no system call's name does."})
    return rules
