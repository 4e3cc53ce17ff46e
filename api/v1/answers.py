"""Response schemas for artifacts, requests, pages, batches, events and reruns.

executions/representation.py has the schema of an execution.
"""

from pathlib import PurePath
from urllib.parse import quote
from uuid import UUID

from rest_framework import serializers

from executions.egress.models import Refusal
from executions.event_stream import EVENTS
from executions.models import Artifact
from executions.representation import ExecutionSchema, ListedExecutionSchema
from sandbox_platform.kit.schemas import AnyJson, Schema, computed

# Types that are harmless in a browser; all other files are octet streams. Every file is sent as an attachment.
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
    method = serializers.CharField(help_text="CONNECT: a tunnel; the platform sees only its host, port and size.")
    host = serializers.CharField()
    port = serializers.IntegerField()
    allowed = serializers.BooleanField()
    reason = serializers.ChoiceField([("", "Allowed"), *Refusal.choices], help_text="Why it was refused.")
    ended_at = serializers.DateTimeField(allow_null=True)
    status = serializers.IntegerField(allow_null=True, help_text="HTTP status that the program received.")
    address = serializers.CharField(allow_null=True, help_text="IP address that the proxy connected to.")
    cut = serializers.BooleanField(help_text="It ended because the run had used up SANDBOX_EGRESS_BYTES.")
    bytes_sent = serializers.IntegerField(allow_null=True)
    bytes_received = serializers.IntegerField(allow_null=True)


class PageSchema(Schema):
    next = serializers.CharField(allow_null=True, help_text="Path of the next page; null on the last one.")
    results = ListedExecutionSchema(many=True)


class BatchSchema(Schema):
    id = serializers.UUIDField()
    finished = serializers.BooleanField()
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="Number of executions by status.")
    executions = ListedExecutionSchema(many=True)


class EventSchema(Schema):
    """One event of the stream."""

    id = serializers.CharField(help_text="Position after this event; send it as Last-Event-ID to resume.")
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
