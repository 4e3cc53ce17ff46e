"""Serializers of requests. They check the fields and are the source of the OpenAPI schema."""

import re
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from executions.models import Mode
from runtimes.models import ADJUSTABLE, MIB
from runtimes.validators import ALIAS
from sandbox_platform.kit.addresses import LONGEST_URL, Refused, check_url
from sandbox_platform.kit.fields import Name, Number, Strict, Text, Whole

LARGEST_BATCH = 1000
MOST_FILES = 100
MOST_NAMES = 100
LONGEST_WAIT_S = settings.LONGEST_RUN_S
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
# These would change the dynamic loader or the runner, before the program starts.
RESERVED = re.compile(r"LD_.*|DYLD_.*|GLIBC_TUNABLES|SANDBOX_.*")
LABEL = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# Neither matches "", which the schema allows in addition.
BASE64 = r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)\Z"
URL = r"^[Hh][Tt][Tt][Pp][Ss]?://[!-\[\]-~]+$"
LONGEST_VARIABLE = 32_768
LONGEST_LABEL = 256
LOWEST = {"memory_bytes": 64 * MIB, "wall_time_ms": 1, "cpu_time_ms": 1, "output_bytes": 1, "result_bytes": 1}


class FileForm(Strict):
    path = Text(max_length=255, help_text="Relative to /workspace, e.g. data/in.csv.")
    content = Text(required=False, allow_blank=True, help_text="The content as text.")
    content_base64 = Name(
        BASE64, "Not padded base64.", required=False, allow_blank=True, help_text="The content in base64."
    )
    also = Strict.also | {"oneOf": [{"required": ["content"]}, {"required": ["content_base64"]}]}


@extend_schema_field({"type": "object", "additionalProperties": {}})
class Arguments(serializers.JSONField):
    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise ValidationError("Must be an object whose names are the parameters of main().")
        return data


class LimitsForm(Strict):
    """Limits of one run. Each is at most the runtime's, which applies if the field is left out."""

    def get_fields(self) -> Any:
        return {name: Whole(required=False, min_value=LOWEST.get(name, 0), max_value=2**40) for name in ADJUSTABLE}


class TextsByName(serializers.DictField):
    """Texts by name, where the names must match a pattern."""

    pattern: ClassVar[re.Pattern[str]]
    problem: ClassVar[str]

    def to_internal_value(self, data: Any) -> Any:
        values = super().to_internal_value(data)
        if len(values) > MOST_NAMES:
            raise ValidationError(f"More than {MOST_NAMES} names.")
        for name in values:
            if not self.pattern.fullmatch(name):
                raise ValidationError({name[:128]: [self.problem]})
        return values


def _named(pattern: str, longest: int) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": {"type": "string", "maxLength": longest},
        "propertyNames": {"pattern": f"^{pattern}$"},
        "maxProperties": MOST_NAMES,
    }


@extend_schema_field(_named(f"(?!(?:{RESERVED.pattern})$){VARIABLE.pattern}", LONGEST_VARIABLE))
class Variables(TextsByName):
    child = Text(allow_blank=True, max_length=LONGEST_VARIABLE)
    pattern = VARIABLE
    problem = "Not a variable's name: only letters, digits and _, and no digit first."

    def to_internal_value(self, data: Any) -> Any:
        values = super().to_internal_value(data)
        for name in values:
            if RESERVED.fullmatch(name):
                raise ValidationError(
                    {name: ["Reserved: the variable would change the dynamic loader or the runner."]}
                )
        return values


@extend_schema_field(_named(LABEL.pattern, LONGEST_LABEL))
class Labels(TextsByName):
    child = Text(allow_blank=True, max_length=LONGEST_LABEL)
    pattern = LABEL
    problem = "Not a label's name: only 1 to 64 letters, digits, '_', '.' and '-'."


@extend_schema_field({"type": "string", "pattern": URL, "maxLength": LONGEST_URL})
class CallbackUrl(Text):
    def to_internal_value(self, data: Any) -> str:
        url = super().to_internal_value(data)
        try:
            if url:
                check_url(url)
        except Refused as e:
            raise ValidationError(str(e)) from e
        return url


class ExecutionForm(Strict):
    runtime = Name(ALIAS, "Not a runtime's name.", max_length=50, help_text="A slug or an alias.")
    mode = serializers.ChoiceField(
        Mode.choices,
        default=Mode.SCRIPT,
        help_text="script: the program runs from top to bottom. function: main(**arguments) is called, and its "
        "return value is stored as JSON.",
    )
    code = Text(required=False, allow_blank=True, help_text="The program, unless it is one of files.")
    files = serializers.ListField(child=FileForm(), required=False, max_length=MOST_FILES)
    entry = Text(
        required=False, max_length=255, help_text="Path of the program among files, if there are several."
    )
    arguments = Arguments(default=dict, help_text="Arguments of main(), in mode function.")
    stdin = Text(default="", allow_blank=True)
    argv = serializers.ListField(child=Text(allow_blank=True, max_length=32_768), default=list, max_length=1000)
    environment = Variables(default=dict)
    limits = LimitsForm(
        required=False, help_text="Each is at most the runtime's, which applies if the field is left out."
    )
    labels = Labels(default=dict)
    callback_url = CallbackUrl(
        default="",
        allow_blank=True,
        max_length=LONGEST_URL,
        help_text="Receives a POST when the execution ends: see docs/callbacks.md.",
    )
    # The program is either code or one of files, which entry may name.
    also = Strict.also | {
        "anyOf": [
            {"required": ["code"], "not": {"required": ["entry"]}},
            {"required": ["files"], "properties": {"files": {"minItems": 1}}, "not": {"required": ["code"]}},
        ]
    }


class WaitingForm(Strict):
    wait = Number(
        default=0,
        min_value=0,
        max_value=LONGEST_WAIT_S,
        help_text="Seconds to wait for the execution to end. 0: do not wait.",
    )


class SubmissionForm(WaitingForm, ExecutionForm):
    also = ExecutionForm.also


class PartForm(SubmissionForm):
    """The JSON part of a multipart form, whose other parts are the files."""

    also = Strict.also | {"not": {"required": ["code", "entry"]}}


class MultipartForm(Strict):
    """Only for the schema: base.FormParser turns the request into a SubmissionForm."""

    execution = PartForm()
    also: ClassVar[dict[str, Any]] = {
        "additionalProperties": {
            "type": "string",
            "format": "binary",
            "description": "A file; the part's name is its path.",
        }
    }


class BatchForm(Strict):
    executions = serializers.ListField(child=ExecutionForm(), min_length=1, max_length=LARGEST_BATCH)


class RerunForm(WaitingForm):
    configuration = serializers.ChoiceField(
        [
            ("then", "The recorded image, seccomp profile and limits"),
            ("now", "The runtime's current configuration"),
        ]
    )
