"""Forms for adding, changing and resetting a runtime. Bounds come from the model's validators."""

from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError as ModelError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import PositiveIntegerField
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.v1.profile_forms import SLUG, storable
from executions.forms import Variables
from runtimes import manifests, smoke
from runtimes.availability import image_problem
from runtimes.code_policy import RULES
from runtimes.models import CodePolicy, Limits, Network, OutputAction, Runner, Runtime
from runtimes.packages import EXAMPLES, MAX_LENGTH, MAX_PACKAGES, PATTERNS, problems
from runtimes.validators import ALIAS, ALIAS_HINT, MODES
from sandbox_platform.kit.fields import Flag, Name, Number, Strict, Text, Whole
from sandbox_platform.kit.schemas import AnyJson
from seccomp_profiles.models import UNCONFINED, SeccompProfile

# The column holds hundredths of a core.
CPUS_DIGITS = 2
PLAIN_FILE = r"^(?!\.{1,2}\Z)[A-Za-z0-9_.-]+\Z"
WHOLE_LIMITS = tuple(name for name in Limits.__dataclass_fields__ if name not in ("cpus", "output_action"))


def bounds_of(limit: str) -> dict[str, Any]:
    """Return min_value and max_value of a limit: the model's validators, or the range of its column."""
    bounds = {"max_value": 2**31 - 1 if type(column_of(limit)) is PositiveIntegerField else 2**50, "min_value": 0}
    for validator in column_of(limit).validators:
        if isinstance(validator, MinValueValidator):
            bounds["min_value"] = max(bounds["min_value"], validator.limit_value)
        elif isinstance(validator, MaxValueValidator):
            bounds["max_value"] = min(bounds["max_value"], validator.limit_value)
    return bounds


def column_of(limit: str) -> Any:
    return Runtime._meta.get_field(limit)


class RuntimeLimitsForm(Strict):
    def get_fields(self) -> Any:
        return {name: Whole(required=False, **bounds_of(name)) for name in WHOLE_LIMITS} | {
            "cpus": Number(required=False, min_value=0.1, max_value=64, help_text="Cores, rounded to hundredths."),
            "output_action": serializers.ChoiceField(OutputAction.choices, required=False),
        }

    def validate_cpus(self, cpus: float) -> Decimal:
        return Decimal(f"{cpus:.{CPUS_DIGITS}f}")


class PackagesForm(Strict):
    def get_fields(self) -> Any:
        return {
            ecosystem: serializers.ListField(
                child=Name(
                    rf"^(?:{pattern.pattern})\Z",
                    f"Not a package name with an optional version. Example: {EXAMPLES[ecosystem]}.",
                    max_length=MAX_LENGTH,
                ),
                required=False,
                max_length=MAX_PACKAGES,
            )
            for ecosystem, pattern in PATTERNS.items()
        }

    def validate(self, attrs: Any) -> Any:
        if found := problems(attrs):
            raise ValidationError({ecosystem: [problem] for ecosystem, problem in found.items()})
        return attrs


@extend_schema_field(
    {
        "type": "array",
        "items": {"type": "string", "enum": list(MODES)},
        "minItems": 1,
        "maxItems": len(MODES),
        "uniqueItems": True,
    }
)
class Modes(serializers.ListField):
    child = serializers.ChoiceField(MODES)

    def to_internal_value(self, data: Any) -> list[str]:
        values: list[str] = super().to_internal_value(data)
        if len(set(values)) < len(values):
            raise ValidationError("A mode is listed twice.")
        return values


JSON_TYPES = {dict: "object", list: "array", str: "string", int: "integer"}


def _table(known: dict[str, tuple[type, ...]], **described: dict[str, Any]) -> dict[str, Any]:
    anything: dict[str, Any] = {}
    properties = {
        name: {"type": JSON_TYPES[types[0]]} if len(types) == 1 else anything for name, types in known.items()
    }
    return {"type": "object", "properties": properties | described, "additionalProperties": False}


@extend_schema_field(
    {
        "type": "array",
        "items": _table(smoke.FIELDS, expect=_table(smoke.EXPECTED)) | {"required": ["name", "code", "expect"]},
        "maxItems": smoke.LARGEST,
    }
)
class SmokePrograms(AnyJson):
    pass


class RuntimeForm(Strict):
    """In a PATCH, fields that are left out keep their values."""

    slug = Name(*SLUG, max_length=50)
    name = Text(max_length=100)
    aliases = serializers.ListField(child=Name(ALIAS, ALIAS_HINT, max_length=50), required=False, max_length=50)
    enabled = Flag(required=False)
    image = Text(max_length=300)
    source_file = Name(PLAIN_FILE, "Not a plain file name, such as main.py.", max_length=100)
    runner = serializers.ChoiceField(Runner.choices, required=False)
    modes = Modes(required=False, min_length=1, max_length=len(MODES))
    compile_command = Text(required=False, allow_blank=True, max_length=1000)
    run_command = Text(required=False, allow_blank=True, max_length=1000)
    function_command = Text(required=False, allow_blank=True, max_length=1000)
    packages = PackagesForm(
        required=False,
        allow_null=True,
        help_text='What the image holds, e.g. {"apt": ["jq"]}. Installs nothing: a build does.',
    )
    smoke = SmokePrograms(
        required=False, help_text="Smoke programs, in the manifest's form: see docs/runtimes.md."
    )
    preload = serializers.ListField(child=Text(max_length=100), required=False, max_length=100)
    preload_when_idle = serializers.ListField(child=Text(max_length=100), required=False, max_length=100)
    environment = Variables(required=False)
    limits = RuntimeLimitsForm(required=False)
    seccomp_profile = Text(required=False, max_length=50, help_text=f"Name of a profile, or {UNCONFINED}.")
    network = serializers.ChoiceField(Network.choices, required=False)
    code_policy = serializers.ChoiceField(CodePolicy.choices, required=False)
    ragflow_code_policy = serializers.ChoiceField(CodePolicy.choices, required=False)
    disabled_rules = serializers.ListField(
        child=serializers.ChoiceField(sorted(RULES)), required=False, max_length=200
    )
    pool_min = Whole(required=False, min_value=0, max_value=200)
    pool_max = Whole(required=False, min_value=0, max_value=200)

    def validate_packages(self, value: Any) -> Any:
        return value or {}

    def validate_smoke(self, value: Any) -> Any:
        return [] if value is None else storable(value, "smoke programs")

    def validate_seccomp_profile(self, name: str) -> SeccompProfile | None:
        profile = SeccompProfile.objects.filter(name=name).first()
        if profile is None and name != UNCONFINED:
            raise ValidationError(
                f"There is no seccomp profile {name!r}; GET /api/v1/seccomp-profiles lists them."
            )
        return profile


class ResetForm(Strict):
    def get_fields(self) -> Any:
        choice = serializers.ChoiceField(manifests.fields_from_manifest())
        return {"fields": serializers.ListField(child=choice, required=False, min_length=1, max_length=100)}


def change(row: Runtime, values: dict[str, Any]) -> None:
    """Validate and save the runtime. Raises ValidationError with the API's field names."""
    limits = values.pop("limits", {})
    for name, value in (values | limits).items():
        setattr(row, name, value)
    try:
        row.full_clean()
    except ModelError as e:
        known = Limits.__dataclass_fields__
        named = {f"limits.{n}" if n in known else n.replace("__all__", ""): m for n, m in e.message_dict.items()}
        raise ValidationError(named) from e
    if problem := image_problem(row):
        raise ValidationError({"image": [problem]})
    row.save()
