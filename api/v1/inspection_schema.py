"""Response schemas of inspections of seccomp profiles."""

from typing import Any

from rest_framework import serializers

from inspections.models import Inspection, InspectionKind, InspectionState
from inspections.services import without_programs
from sandbox_platform.kit.schemas import AnyJson, Schema, computed


def _details(inspection: Inspection) -> dict[str, Any]:
    """Return the details without the programs to learn from: they belong to the person who sent them."""
    details: dict[str, Any] = inspection.details
    if "request" in details:
        return details | {"request": without_programs(details["request"])}
    return details


class InspectionSchema(Schema):
    id = serializers.IntegerField()
    kind = serializers.ChoiceField(InspectionKind.choices)
    state = serializers.ChoiceField(InspectionState.choices)
    verdict = serializers.CharField(help_text="enforced, not_enforced, breaks_runtime, error, or empty.")
    summary = computed(serializers.CharField(), lambda inspection: inspection.details.get("summary", ""))
    profile = serializers.CharField(allow_null=True, source="revision.profile.name")
    revision = serializers.IntegerField(allow_null=True, source="revision.number")
    runtime = serializers.CharField(allow_null=True, source="runtime.slug")
    execution = serializers.UUIDField(allow_null=True, source="execution_id")
    requested_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    node = serializers.CharField()
    runsc_version = serializers.CharField()
    image_id = serializers.CharField()
    runtime_revision = serializers.IntegerField(allow_null=True)


class InspectionDetailSchema(InspectionSchema):
    details = computed(AnyJson(help_text="The keys depend on `kind`: see docs/seccomp.md."), _details)


class SavedSchema(Schema):
    """The saved revision."""

    profile = serializers.CharField(source="profile.name")
    revision = serializers.IntegerField(help_text="A draft, unless the profile is new.", source="number")
