from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils.html import format_html
from django.utils.safestring import SafeString

from runtimes.availability import image_problem
from runtimes.code_policy import RULES, Rule
from runtimes.models import Runtime
from runtimes.sources import idle_memory
from sandbox_platform.kit import units
from sandbox_platform.kit.forms import CHECKBOXES, TextInput, json_field
from sandbox_platform.kit.generics import ModelForm

TIMES = ("wall_time_ms", "cpu_time_ms", "compile_wall_ms", "compile_cpu_ms")
SIZES = ("memory_bytes", "workspace_bytes", "tmp_bytes", "output_bytes", "result_bytes", "artifact_bytes")


class UnitInput(TextInput):  # type: ignore[misc]
    """Input for a quantity with a unit. A hint, updated by units.js, shows the value in the API's unit."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        super().__init__(attrs={"data-unit": unit, "class": "quantity", "spellcheck": "false"})

    class Media:
        js = ("runtimes/units.js",)

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        quantity = super().render(name, value, attrs, renderer)
        return format_html(
            '<div class="quantity-field">{}<span class="unit-hint">{}</span></div>',
            quantity,
            self._in_numbers(value),
        )

    def _in_numbers(self, value: Any) -> str:
        try:
            number = units.parse(str(value), self.unit)
        except ValueError:
            return ""
        return f"= {number:,} {self.unit}"


class QuantityField(forms.IntegerField):
    """A quantity such as `256 MiB`. A number without a unit is in bytes or milliseconds."""

    unit = ""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"widget": UnitInput(self.unit)})

    def prepare_value(self, value: Any) -> Any:
        return units.exact(value, self.unit) if isinstance(value, int) else value

    def to_python(self, value: Any) -> Any:
        if value in self.empty_values:
            return None
        try:
            return units.parse(str(value), self.unit)
        except ValueError as e:
            raise forms.ValidationError(str(e), code="invalid") from e


class BytesField(QuantityField):
    unit = "bytes"


class TimeField(QuantityField):
    unit = "ms"


def bounds(name: str, unit: str) -> str:
    """Describe the bounds of the model's field, for example "At least 64 MiB."; "" without bounds."""
    column: Any = Runtime._meta.get_field(name)
    least = [v.limit_value for v in column.validators if isinstance(v, MinValueValidator) and v.limit_value]
    # Leave out the limit of the column type.
    most = [
        v.limit_value for v in column.validators if isinstance(v, MaxValueValidator) and v.limit_value < 2**31 - 1
    ]
    words = [f"at least {units.exact(value, unit)}" for value in least]
    words += [f"at most {units.exact(value, unit)}" for value in most]
    text = " and ".join(words)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def pool_cost(runtime: Runtime) -> SafeString:
    """Return the pool's memory cost at its stored sizes. units.js recomputes it when the form changes."""
    idle = idle_memory(runtime)

    def part(of: str, each: str, one: int) -> SafeString:
        total = units.format_bytes(getattr(runtime, of) * one)
        return format_html('<strong data-of="{}" data-each="{}">{}</strong>', of, each, total)

    return format_html(
        '<span data-pool-idle="{}">Memory on each node: {} at the minimum, {} at the maximum, '
        "and {} if all sandboxes of a full pool used their limit. One warm sandbox takes {}, {}.</span>",
        idle.bytes,
        part("pool_min", "idle", idle.bytes),
        part("pool_max", "idle", idle.bytes),
        part("pool_max", "memory", runtime.memory_bytes),
        units.format_bytes(idle.bytes),
        idle.source,
    )


def rule_choices(slug: str | None) -> list[tuple[str, SafeString]]:
    """Return the choices of rules for the runtime; all rules for a runtime that has no slug yet."""
    rules = [rule for rule in RULES.values() if slug in (None, rule.language)]
    return [(rule.slug, _describe(rule)) for rule in rules]


def _describe(rule: Rule) -> SafeString:
    return format_html('{} <code>{}</code><div class="help">{}</div>', rule.title, rule.slug, rule.description)


class RuntimeForm(ModelForm[Runtime]):
    environment = json_field(4, help_text=Runtime._meta.get_field("environment").help_text)
    packages = json_field(4, help_text=Runtime._meta.get_field("packages").help_text)
    smoke = json_field(12, help_text=Runtime._meta.get_field("smoke").help_text)
    disabled_rules = forms.MultipleChoiceField(widget=CHECKBOXES, required=False, label="Disabled rules")

    class Meta:
        model = Runtime
        fields = "__all__"
        labels = {
            "source_file": "Source file",
            "wall_time_ms": "Wall time",
            "cpu_time_ms": "CPU time",
            "compile_wall_ms": "Compilation wall time",
            "compile_cpu_ms": "Compilation CPU time",
            "cpus": "Cores",
            "memory_bytes": "Memory",
            "workspace_bytes": "/workspace",
            "tmp_bytes": "/tmp",  # noqa: S108
            "output_bytes": "Output per stream",
            "output_action": "At the output limit",
            "result_bytes": "Result",
            "artifact_count": "Artifacts",
            "artifact_bytes": "Artifact size",
            "pool_min": "Minimum",
            "pool_max": "Maximum",
        }
        field_classes = dict.fromkeys(TIMES, TimeField) | dict.fromkeys(SIZES, BytesField)
        help_texts = {
            "wall_time_ms": "From the moment the sandbox gets the job. The host ends the run, not the guest.",
            "cpu_time_ms": "CPU time of the whole sandbox, summed over all processes.",
            "compile_wall_ms": "Wall time of the compile command. The program's own limits apply after it.",
            "compile_cpu_ms": "CPU time of the compile command.",
            "memory_bytes": "Memory of the whole sandbox, including its files, which live in memory. "
            "A sandbox that exceeds it is killed.",
            "workspace_bytes": "Size of /workspace, where the program runs.",
            "tmp_bytes": "Size of /tmp.",
            "output_bytes": "How much of stdout is kept, and how much of stderr.",
            "result_bytes": "Largest JSON that main() may return.",
            "artifact_bytes": "Largest file kept from ./artifacts and the working directory. Larger files are skipped.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields.pop("packages", None)  # read-only: see RuntimeAdmin
        for name in (*TIMES, *SIZES):
            if isinstance(limit := self.fields.get(name), QuantityField):
                limit.help_text = f"{limit.help_text} {bounds(name, limit.unit)}"
        if most := self.fields.get("pool_max"):
            most.help_text = pool_cost(self.instance)
        field = self.fields.get("disabled_rules")
        if isinstance(field, forms.MultipleChoiceField):
            field.choices = rule_choices(self.instance.slug or None)
            field.help_text = (
                "Ticked rules are not applied to this runtime."
                if field.choices
                else "This language has no code rules."
            )

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if not self.errors and (problem := image_problem(self.instance)):
            self.add_error("image", problem)

    def clean_environment(self) -> dict[str, str]:
        value: dict[str, str] = self.cleaned_data["environment"] or {}
        return value

    def clean_packages(self) -> dict[str, list[str]]:
        value: dict[str, list[str]] = self.cleaned_data["packages"] or {}
        return value

    def clean_smoke(self) -> list[dict[str, Any]]:
        value: list[dict[str, Any]] = self.cleaned_data["smoke"] or []
        return value
