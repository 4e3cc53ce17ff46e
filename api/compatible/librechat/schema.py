"""OpenAPI schema of LibreChat's requests and answers. views.py and sessions.py decide."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from sandbox_platform.kit.schemas import Schema, Texts


class LibreChatReferenceForm(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.CharField()
    session_id = serializers.CharField(required=False, help_text="Or `storage_session_id`.")
    storage_session_id = serializers.CharField(required=False)
    name = serializers.CharField(required=False, allow_blank=True, help_text="Its path in this run.")


class LibreChatExecForm(serializers.Serializer):  # type: ignore[type-arg]
    lang = serializers.CharField(help_text="LibreChat's short name (`py`, `js`), or a runtime's slug or alias.")
    code = serializers.CharField(allow_blank=True)
    args = serializers.ListField(child=serializers.CharField(allow_blank=True), required=False)
    files = LibreChatReferenceForm(many=True, required=False)


class LibreChatReferenceSchema(Schema):
    id = serializers.CharField()
    name = serializers.CharField()
    session_id = serializers.CharField()
    storage_session_id = serializers.CharField()


class LibreChatRanSchema(Schema):
    session_id = serializers.CharField()
    stdout = serializers.CharField()
    stderr = serializers.CharField(help_text="Its last line says what our limits did, if anything.")
    files = LibreChatReferenceSchema(many=True, help_text="What the program left.")
    code = serializers.IntegerField(allow_null=True)
    signal = serializers.CharField(allow_null=True)
    message = serializers.CharField(allow_null=True)
    status = serializers.CharField(allow_null=True, help_text="`RE`, `SG`, `TO`, `OL` or `EL`.")
    wall_time = serializers.IntegerField(allow_null=True, help_text="Milliseconds.")


class LibreChatStoredSchema(Schema):
    fileId = serializers.CharField()
    filename = serializers.CharField()


class LibreChatUploadedSchema(Schema):
    message = serializers.CharField()
    session_id = serializers.CharField()
    storage_session_id = serializers.CharField()
    files = LibreChatStoredSchema(many=True)


class LibreChatBatchFileSchema(LibreChatStoredSchema):
    status = serializers.CharField()


class LibreChatBatchSchema(LibreChatUploadedSchema):
    files = LibreChatBatchFileSchema(many=True)
    succeeded = serializers.IntegerField()
    failed = serializers.IntegerField()


class LibreChatFileSchema(Schema):
    name = serializers.CharField(help_text="The session, the file's id and the ending of its name.")
    id = serializers.CharField()
    session_id = serializers.CharField()
    storage_session_id = serializers.CharField()
    size = serializers.IntegerField()
    lastModified = serializers.DateTimeField()
    etag = serializers.CharField()
    contentType = serializers.CharField()
    metadata = Texts(help_text="`content-type` and `original-filename`.")


class LibreChatErrorSchema(Schema):
    error = serializers.CharField(help_text="`rate_limited` of a 429.")
    message = serializers.CharField(required=False)
    retry_after_seconds = serializers.IntegerField(required=False)


UPLOAD = {
    "multipart/form-data": {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "required": ["file"],
    }
}
DETAIL = OpenApiParameter("detail", str, description="Not looked at: every answer has everything.")
DOWNLOADED = OpenApiResponse(OpenApiTypes.BINARY, "The file, always as an attachment.")
# Refusals of a request with a body.
BODY = (400, 413, 415, 429)


def answers(success: dict[Any, Any], *statuses: int) -> dict[Any, Any]:
    refused = {status: OpenApiResponse(LibreChatErrorSchema) for status in (401, 403, 500, 503, *statuses)}
    return refused | success
