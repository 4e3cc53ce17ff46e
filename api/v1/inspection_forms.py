"""What is sent to ask for an inspection of a seccomp profile, and to save what it found."""

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
ASKED = (InspectionKind.PROBE, InspectionKind.LEARN, InspectionKind.REPLAY)


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": {"type": "string", "maxLength": LONGEST_FILE},
        "propertyNames": {"minLength": 1, "maxLength": files.LONGEST_PATH},
        "maxProperties": MOST_FILES,
    }
)
class ProgramFiles(serializers.DictField):
    """Texts by their paths in /workspace."""

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
    files = ProgramFiles(default=dict, help_text="Texts by their paths in /workspace.")


class InspectionForm(Strict):
    kind = serializers.ChoiceField([(kind.value, kind.label) for kind in ASKED])
    runtime = Name(ALIAS, "Not a runtime's name.", max_length=50, help_text="A slug or an alias.")
    profile = Name(
        *SLUG, required=False, max_length=50, help_text="Probed, replayed under, or compared with what is learnt."
    )
    revision = Whole(required=False, min_value=1, max_value=2**31 - 1, help_text="Default: the one in force.")
    last = Whole(
        required=False,
        min_value=1,
        max_value=studies.MOST_EXECUTIONS,
        help_text="Of replay and learn: so many of the runtime's latest executions. Of replay, 20 by default.",
    )
    execution = serializers.UUIDField(required=False, help_text="Of learn: this execution.")
    programs = serializers.ListField(child=ProgramForm(), required=False, max_length=MOST_PROGRAMS)
    pure = Flag(
        required=False, help_text="Of learn: only the runtime's programs that compute a value from values."
    )


class SaveForm(Strict):
    profile = Name(*SLUG, max_length=50, help_text="Gets a new revision; one that does not exist is created.")
    note = Text(required=False, allow_blank=True, max_length=2000)
