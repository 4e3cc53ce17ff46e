"""OpenAPI schema of Judge0's requests and answers. parsing.py and answers.py decide."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema_field
from rest_framework import serializers

from api.compatible.judge0.answers import FIELDS
from sandbox_platform.kit.schemas import AnyJson, Schema

NUMBER = {"type": ["number", "string", "null"]}


@extend_schema_field(NUMBER)
class Number(serializers.JSONField):
    pass


class Judge0SubmissionForm(serializers.Serializer):  # type: ignore[type-arg]
    source_code = serializers.CharField()
    language_id = serializers.IntegerField(help_text="An id of Judge0 CE, or one of GET /languages.")
    stdin = serializers.CharField(required=False, allow_null=True, allow_blank=True)
    expected_output = serializers.CharField(required=False, allow_null=True, allow_blank=True)
    command_line_arguments = serializers.CharField(required=False, allow_null=True, allow_blank=True)
    cpu_time_limit = Number(required=False, help_text="Seconds.")
    wall_time_limit = Number(required=False, help_text="Seconds.")
    memory_limit = Number(required=False, help_text="KiB.")


class Judge0BatchForm(serializers.Serializer):  # type: ignore[type-arg]
    submissions = serializers.ListField(child=Judge0SubmissionForm(), min_length=1, max_length=20)


class Judge0StatusSchema(Schema):
    id = serializers.IntegerField()
    description = serializers.CharField()


class Judge0LanguageSchema(Schema):
    id = serializers.IntegerField()
    name = serializers.CharField()


class Judge0MarkedLanguageSchema(Judge0LanguageSchema):
    is_archived = serializers.BooleanField()


class Judge0WholeLanguageSchema(Judge0MarkedLanguageSchema):
    source_file = serializers.CharField()
    compile_cmd = serializers.CharField(allow_null=True)
    run_cmd = serializers.CharField(allow_null=True)


class Judge0ErrorSchema(Schema):
    error = serializers.CharField()


class Judge0SubmissionsSchema(Schema):
    submissions = serializers.ListField(child=AnyJson(help_text="A submission, or null."))


class Judge0AboutSchema(Schema):
    version = serializers.CharField()
    homepage = serializers.CharField()
    source_code = serializers.CharField()
    maintainer = serializers.CharField()


TEXTS_BY_FIELD = {
    "type": "object",
    "additionalProperties": {"type": "array", "items": {"type": "string"}},
}
SUBMISSION = {
    "type": "object",
    "properties": {name: {} for name in FIELDS},
    "description": "The fields that `fields` names.",
}
TOKEN = {"type": "object", "properties": {"token": {"type": "string"}}}
ERROR = {"type": "object", "properties": {"error": {"type": "string"}}}
LISTED = {"type": "array", "items": {"anyOf": [TOKEN, TEXTS_BY_FIELD, ERROR]}}
REFUSED_BATCH = {"type": "array", "items": {"anyOf": [TEXTS_BY_FIELD, ERROR]}}
CONFIG = {"type": "object", "additionalProperties": {}}
# Texts, because Judge0 takes whatever is not `true` for false, and refuses nothing.
BASE64 = OpenApiParameter("base64_encoded", str, description="`true`: texts are in base64, both ways.")
ASKED = OpenApiParameter("fields", str, description=f"Comma-separated, or `*` for all. Of: {', '.join(FIELDS)}.")
WAIT = OpenApiParameter("wait", str, description="`true`: answer when the run has ended.")
TOKENS = OpenApiParameter("tokens", str, description="Comma-separated, at most 20. May be a header instead.")


def answers(success: dict[int, Any], *statuses: int) -> dict[Any, Any]:
    refused = {status: OpenApiResponse(Judge0ErrorSchema) for status in (401, 403, 500, 503, *statuses)}
    return refused | success
