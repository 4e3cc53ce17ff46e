from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.utils import timezone

from clients.models import Client, Token
from runtimes.forms import BytesField, TimeField
from runtimes.models import Runtime
from sandbox_platform.kit.formats import CHOICES
from sandbox_platform.kit.forms import CHECKBOXES, TextInput
from sandbox_platform.kit.generics import ModelForm
from sandbox_platform.kit.units import exact

# Label and overlap of each choice. None: the old tokens are not changed.
OVERLAPS: dict[str, tuple[str, timedelta | None]] = {
    "keep": ("are not changed", None),
    "30d": ("work for another 30 days", timedelta(days=30)),
    "7d": ("work for another week", timedelta(days=7)),
    "1d": ("work for another day", timedelta(days=1)),
    "1h": ("work for another hour", timedelta(hours=1)),
    "0": ("stop working at once", timedelta(0)),
}


class ClientForm(ModelForm[Client]):
    allowed_runtimes = forms.MultipleChoiceField(
        widget=CHECKBOXES,
        required=False,
        help_text=Client._meta.get_field("allowed_runtimes").help_text,
    )
    formats = forms.MultipleChoiceField(
        choices=CHOICES,
        widget=CHECKBOXES,
        required=False,
        help_text=Client._meta.get_field("formats").help_text,
    )

    class Meta:
        model = Client
        fields = "__all__"
        labels = {
            "max_wall_time_ms": "Wall time",
            "max_cpu_time_ms": "CPU time",
            "max_memory_bytes": "Memory",
            "max_output_bytes": "Output per stream",
            "max_result_bytes": "Result",
            "max_artifact_count": "Artifacts",
            "max_artifact_bytes": "Artifact size",
            "max_runs_per_minute": "Runs per minute",
            "max_runs_per_day": "Runs per day",
            "max_open_executions": "Queued or running at once",
            "max_stored_bytes": "Stored history",
        }
        help_texts = {
            name: f"{what} Empty: no cap."
            for name, what in (
                ("max_wall_time_ms", "Wall time of a run."),
                ("max_cpu_time_ms", "CPU time of a run."),
                ("max_memory_bytes", "Memory of the whole sandbox."),
                ("max_output_bytes", "How much of stdout is kept, and how much of stderr."),
                ("max_result_bytes", "Largest JSON that main() may return."),
                ("max_artifact_bytes", "Largest file kept from ./artifacts and the working directory."),
            )
        }
        field_classes = {"max_wall_time_ms": TimeField, "max_cpu_time_ms": TimeField} | dict.fromkeys(
            ("max_memory_bytes", "max_output_bytes", "max_result_bytes", "max_artifact_bytes", "max_stored_bytes"),
            BytesField,
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if stored := self.fields.get("max_stored_bytes"):
            default = settings.SANDBOX_CLIENT_STORAGE_BYTES
            stored.help_text = (
                "What the client's history may hold: programs, input, output and files. Runs beyond are refused with "
                f"429. Empty: {exact(default, 'bytes') if default else 'unlimited'} (SANDBOX_CLIENT_STORAGE). "
                "0: unlimited."
            )
        field = self.fields.get("allowed_runtimes")
        if isinstance(field, forms.MultipleChoiceField):
            installed = dict(Runtime.objects.values_list("slug", "name"))
            gone = {slug: "not installed" for slug in self.instance.allowed_runtimes if slug not in installed}
            field.choices = [(slug, f"{name} ({slug})") for slug, name in (installed | gone).items()]


class TokenForm(ModelForm[Token]):
    class Meta:
        model = Token
        fields = ("name", "expires_at")
        # In a table the column's title does not label the field.
        widgets = {"name": TextInput(attrs={"aria-label": "Name of the token"})}

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at and "expires_at" in self.changed_data and expires_at <= timezone.now():
            raise forms.ValidationError(
                "This time is in the past. Choose a later time (UTC), or revoke the token."
            )
        return expires_at
