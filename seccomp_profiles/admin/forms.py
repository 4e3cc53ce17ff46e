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

MAX_IMPORT_BYTES = 1_000_000
CHANGES = ("rules", "allow", "deny")


class NamesField(forms.CharField):
    """Names of system calls, separated by spaces, commas or line breaks."""

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
    """Edits the rules of a profile or, if it extends another, its allow and deny lists. Saving makes a revision."""

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
        help_text="Upload a profile in Docker's JSON format, instead of writing the rules above.",
    )
    allow = NamesField("System calls that this profile allows although its parent denies them.")
    deny = NamesField("System calls that this profile denies although its parent allows them.")
    note = forms.CharField(
        required=False,
        max_length=2000,
        widget=TextInput,
        help_text="Reason for the change, shown in the list of revisions.",
    )

    class Meta:
        model = SeccompProfile
        fields = ("name", "description", "parent")
        widgets = {"description": TEXTAREA(attrs={"rows": 3})}

    # The revision whose text the editor starts with; None: SeccompProfile.edited.
    base: SeccompRevision | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.active:
            base = self.base or self.instance.edited
            self.initial.update({name: getattr(base, name) for name in CHANGES})

    @property
    def is_changed(self) -> bool:
        """Return whether saving the form makes a new revision."""
        return self.instance.active is None or bool({*CHANGES, "imported"} & set(self.changed_data))

    def clean_imported(self) -> Any:
        file = self.cleaned_data["imported"]
        if file is None:
            return None
        if file.size > MAX_IMPORT_BYTES:
            raise ValidationError("The file is larger than 1 MB, the limit for a profile.")
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
    """Return the rules. Raises ValidationError if they contain characters that Postgres cannot store."""
    text = json.dumps(rules, ensure_ascii=False)
    if "\\u0000" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValidationError({"rules": "Contains NUL or lone surrogates, which cannot be stored."})
    return rules
