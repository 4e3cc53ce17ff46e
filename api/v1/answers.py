"""Answers about executions and what they are part of; executions/representation.py has an execution itself."""

from pathlib import PurePath
from urllib.parse import quote
from uuid import UUID

from rest_framework import serializers

from executions.egress.models import Refusal
from executions.event_stream import EVENTS
from executions.models import Artifact
from executions.representation import ExecutionSchema, ListedExecutionSchema
from sandbox_platform.kit.schemas import AnyJson, Schema, computed

# Harmless wherever they are opened; everything else is bytes. All of them are sent as attachments.
CONTENT_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    ".webp": "image/webp",
}
BYTES = "application/octet-stream"


def url_of(execution_id: UUID) -> str:
    return f"/api/v1/executions/{execution_id}"


def content_type(name: str) -> str:
    return CONTENT_TYPES.get(PurePath(name).suffix.lower(), BYTES)


def _url(artifact: Artifact) -> str:
    return f"{url_of(artifact.execution_id)}/artifacts/{quote(artifact.name, safe='')}"


class ArtifactSchema(Schema):
    name = serializers.CharField()
    size = serializers.IntegerField()
    content_type = computed(serializers.CharField(), lambda artifact: content_type(artifact.name))
    url = computed(serializers.CharField(), _url)


class EgressRequestSchema(Schema):
    at = serializers.DateTimeField()
    method = serializers.CharField(help_text="CONNECT: a tunnel, of which no more is known than its size.")
    host = serializers.CharField()
    port = serializers.IntegerField()
    allowed = serializers.BooleanField()
    reason = serializers.ChoiceField([("", "Allowed"), *Refusal.choices], help_text="Why it was refused.")
    ended_at = serializers.DateTimeField(allow_null=True)
    status = serializers.IntegerField(allow_null=True, help_text="HTTP status that the program was given.")
    address = serializers.CharField(allow_null=True, help_text="What was connected to.")
    bytes_sent = serializers.IntegerField(allow_null=True)
    bytes_received = serializers.IntegerField(allow_null=True)


class PageSchema(Schema):
    next = serializers.CharField(allow_null=True, help_text="Path of the next page; null on the last one.")
    results = ListedExecutionSchema(many=True)


class BatchSchema(Schema):
    id = serializers.UUIDField()
    finished = serializers.BooleanField()
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="Executions of each status.")
    executions = ListedExecutionSchema(many=True)


class EventSchema(Schema):
    """One event of the stream."""

    id = serializers.CharField(help_text="Where one is after it: for Last-Event-ID.")
    event = serializers.ChoiceField(EVENTS)
    data = serializers.CharField(  # type: ignore[assignment]
        help_text="A JSON object: see docs/events.md."
    )


class DifferenceSchema(Schema):
    field = serializers.CharField()
    then = AnyJson()
    now = AnyJson()


class RerunSchema(Schema):
    execution = ExecutionSchema()
    differences = DifferenceSchema(many=True)
