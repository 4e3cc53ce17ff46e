from typing import Any

from django import forms
from django.utils.html import format_html
from django.utils.safestring import SafeString

from runtimes.code_policy import RULES, Rule
from runtimes.models import Runtime
from sandbox_platform.forms import CHECKBOXES, NumberInput, json_field
from sandbox_platform.generics import ModelForm
from sandbox_platform.units import format_bytes, format_ms

TIMES = ("wall_time_ms", "cpu_time_ms", "compile_wall_ms", "compile_cpu_ms")
FORMATS = {"bytes": format_bytes, "ms": format_ms}


class UnitInput(NumberInput):
    """A number with its value in words beside it, which units.js keeps true."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        super().__init__(attrs={"data-unit": unit, "class": "number"})

    class Media:
        js = ("runtimes/units.js",)

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        number = super().render(name, value, attrs, renderer)
        return format_html('{}<span class="unit-hint">{}</span>', number, self._in_words(value))

    def _in_words(self, value: Any) -> str:
        try:
            return f"= {FORMATS[self.unit](int(value))}"
        except (TypeError, ValueError):
            return ""


def rule_choices(slug: str | None) -> list[tuple[str, SafeString]]:
    """The rules for this runtime; all of them for one that is yet to be named."""
    rules = [rule for rule in RULES.values() if slug in (None, rule.language)]
    return [(rule.slug, _describe(rule)) for rule in rules]


def _describe(rule: Rule) -> SafeString:
    return format_html('{} <code>{}</code><div class="help">{}</div>', rule.title, rule.slug, rule.description)


class RuntimeForm(ModelForm[Runtime]):
    environment = json_field(4, help_text=Runtime._meta.get_field("environment").help_text)
    packages = json_field(4, help_text=Runtime._meta.get_field("packages").help_text)
    smoke = json_field(12, help_text=Runtime._meta.get_field("smoke").help_text)
    disabled_rules = forms.MultipleChoiceField(widget=CHECKBOXES, required=False, label="Rules switched off")

    class Meta:
        model = Runtime
        fields = "__all__"
        labels = {
            "source_file": "Source file",
            "wall_time_ms": "Wall time",
            "cpu_time_ms": "CPU time",
            "compile_wall_ms": "Wall time to compile",
            "compile_cpu_ms": "CPU time to compile",
            "cpus": "Cores",
            "memory_bytes": "Memory",
            "workspace_bytes": "/workspace",
            "tmp_bytes": "/tmp",  # noqa: S108
            "output_bytes": "Output per stream",
            "output_action": "Too much output",
            "result_bytes": "Result",
            "artifact_count": "Artifacts",
            "artifact_bytes": "Size of an artifact",
            "pool_min": "At least",
            "pool_max": "At most",
        }
        widgets = {name: UnitInput("ms") for name in TIMES} | {
            name: UnitInput("bytes")
            for name in (
                "memory_bytes",
                "workspace_bytes",
                "tmp_bytes",
                "output_bytes",
                "result_bytes",
                "artifact_bytes",
            )
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields.get("disabled_rules")
        if isinstance(field, forms.MultipleChoiceField):
            field.choices = rule_choices(self.instance.slug or None)
            field.help_text = (
                "A rule with a tick is not applied to this runtime."
                if field.choices
                else "There are no code rules for this language."
            )

    def clean_environment(self) -> dict[str, str]:
        value: dict[str, str] = self.cleaned_data["environment"] or {}
        return value

    def clean_packages(self) -> dict[str, list[str]]:
        value: dict[str, list[str]] = self.cleaned_data["packages"] or {}
        return value

    def clean_smoke(self) -> list[dict[str, Any]]:
        value: list[dict[str, Any]] = self.cleaned_data["smoke"] or []
        return value
