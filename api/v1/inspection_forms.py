"""Forms for requesting an inspection of a seccomp profile and for saving learnt rules."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.v1.profile_forms import SLUG
from executions import files
from executions.forms import MOST_FILES, Arguments
from executions.models import Mode
from inspections import studies
from inspections.models import InspectionKind
from runtimes.validators import ALIAS
from sandbox_platform.kit.errors import InvalidField
from sandbox_platform.kit.fields import Flag, Name, Strict, Text, Whole

MOST_PROGRAMS = 20
LONGEST_FILE = 1_000_000
REQUESTABLE = (InspectionKind.PROBE, InspectionKind.LEARN, InspectionKind.REPLAY)


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": {"type": "string", "maxLength": LONGEST_FILE},
        "propertyNames": {"minLength": 1, "maxLength": files.LONGEST_PATH},
        "maxProperties": MOST_FILES,
    }
)
class ProgramFiles(serializers.DictField):
    """A mapping of paths in /workspace to texts."""

    child = Text(allow_blank=True, max_length=LONGEST_FILE)

    def to_internal_value(self, data: Any) -> Any:
        texts = super().to_internal_value(data)
        if len(texts) > MOST_FILES:
            raise ValidationError(f"More than {MOST_FILES} files.")
        try:
            for path in texts:
                files.checked_path(path, "")
            files.refuse_clashes(texts)
        except InvalidField as e:
            raise ValidationError(e.detail) from e
        return texts


class ProgramForm(Strict):
    name = Text(max_length=100)
    code = Text(max_length=LONGEST_FILE)
    mode = serializers.ChoiceField(Mode.choices, default=Mode.SCRIPT)
    arguments = Arguments(default=dict)
    stdin = Text(default="", allow_blank=True)
    argv = serializers.ListField(child=Text(allow_blank=True, max_length=32_768), default=list, max_length=1000)
    files = ProgramFiles(default=dict, help_text="Contents of further files, by path in /workspace.")


class InspectionForm(Strict):
    kind = serializers.ChoiceField([(kind.value, kind.label) for kind in REQUESTABLE])
    runtime = Name(ALIAS, "Not the name of a runtime.", max_length=50, help_text="A slug or an alias.")
    profile = Name(
        *SLUG,
        required=False,
        max_length=50,
        help_text="The profile to probe, to replay under, or to compare learnt rules with.",
    )
    revision = Whole(required=False, min_value=1, max_value=2**31 - 1, help_text="Default: the revision in force.")
    last = Whole(
        required=False,
        min_value=1,
        max_value=studies.MOST_EXECUTIONS,
        help_text="replay and learn: use this many of the runtime's latest executions. Default for replay: 20.",
    )
    execution = serializers.UUIDField(required=False, help_text="learn: use this execution.")
    programs = serializers.ListField(child=ProgramForm(), required=False, max_length=MOST_PROGRAMS)
    pure = Flag(
        required=False, help_text="learn: use only the runtime's pure smoke programs (values in, value out)."
    )


class SaveForm(Strict):
    profile = Name(
        *SLUG,
        max_length=50,
        help_text="The profile that gets the new revision; it is created if it does not exist.",
    )
    note = Text(required=False, allow_blank=True, max_length=2000)
